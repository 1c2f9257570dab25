"""Sides: reduces equations and approximations to the one claim that each makes."""

from __future__ import annotations

import re

from fdiv_gym.rewards import squeezed
from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.claims import in_order, is_name
from fdiv_gym_mathverify.comparison import Comparison, raise_unless
from fdiv_gym_mathverify.messages import APPROXIMATELY
from fdiv_gym_mathverify.structure import assigned_names, equation_parts, listing, split_top
from fdiv_gym_mathverify.texts import has_variable
from fdiv_gym_mathverify.units import split_unit

_VARIABLE = re.compile(r"[A-Za-z](?:_\{?[A-Za-z0-9]{1,9}\}?)?")
_BOUND = re.compile(r"[<>]|\\(?:leq|geq)(?![A-Za-z])")
_SUM = re.compile(r"[-+*/^]|\\(?:cdot|times|frac|sqrt)(?![A-Za-z])")
_CURVE = re.compile(r"[xyz]\s{0,3}[xyz](?:\s{0,3}[xyz])?")
_COMMAND = re.compile(r"\\text\s{0,3}\{[^{}]{0,200}\}|\\[A-Za-z]+")
_DIGITS = re.compile(r"[0-9]{1,200}")
_MAX_PARTS = 6


def reduce_equations(gold: str, pred: str, comparison: Comparison) -> tuple[str, str]:
    """Reduce equations and approximations to the one claim that each makes."""
    if "\\approx" in gold and is_name(gold.partition("\\approx")[0].strip()):
        gold, pred = gold.replace("\\approx", "="), pred.removeprefix("\\approx").replace("\\approx", "=").strip()
    elif "\\approx" in pred and "\\approx" not in gold:
        pred = _exact_side(gold, pred, comparison)
    gold = _by_name(spread(gold))
    if assigned_names(listing(gold).items):
        pred = _by_name(pred)
    several = len(listing(gold).items) > 1
    pred = spread(pred) if several else pred
    parts, gold_parts = equation_parts(pred), equation_parts(gold)
    if len(parts) == 2 and len(gold_parts) != 2 and parts[0].startswith("(") and is_name(parts[0]):
        _check_names(gold, *parts)  # "(x,y) = (2,3)" names the values of a point
        return gold, parts[1]
    if several and len(listing(pred).items) > 1:
        return gold, pred
    both = len(parts) > 1 and _BOUND.search(pred) and not (len(gold_parts) > 1 and _BOUND.search(gold))
    raise_unless(not both, "an equation and an inequality in one")
    raise_unless(len(parts) <= _MAX_PARTS and all(parts), "not a single equation")
    if len(gold_parts) > 1 and not several:
        return _equation(gold_parts, parts, comparison)
    for part in parts[:-1]:
        _claim(gold_parts[-1], part, comparison)
    return gold, parts[-1]


def spread(text: str) -> str:
    """``x = y = z = 1`` as ``x = 1, y = 1, z = 1``; any other text unchanged."""
    parts = equation_parts(text)
    names, value = parts[:-1], parts[-1]
    if len(parts) < 3 or len(set(names)) < len(names) or not all(map(_VARIABLE.fullmatch, names)):
        return text
    if len(listing(value).items) > 1 or any(name[0] in value for name in names):
        return text
    return ", ".join(f"{name} = {value}" for name in names)


def _by_name(text: str) -> str:
    """``(x, y) = (2, 3)`` as ``x = 2, y = 3``; any other text unchanged."""
    parts = equation_parts(text)
    if len(parts) != 2 or not all(part.startswith("(") and part.endswith(")") for part in parts):
        return text
    names, values = (split_top(part[1:-1], ",") for part in parts)
    if len(names) != len(values) or len(names) < 2 or not all(map(_VARIABLE.fullmatch, names)):
        return text
    return ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))


def _equation(gold_parts: tuple[str, ...], parts: tuple[str, ...], comparison: Comparison) -> tuple[str, str]:
    """The pair of texts that is left of an equation and of an answer to it."""
    value = gold_parts[-1]
    # "AB = 5" names a segment, "xy = 5" is a curve.
    named = is_name(gold_parts[0]) and not _CURVE.fullmatch(gold_parts[0])
    named = named and not (len(gold_parts) > 2 and is_name(gold_parts[1]))
    if len(gold_parts) > 2 and not named:
        raise_unless(len(gold_parts) == len(parts), "not the chain of equations of the reference")
        for first, second in zip(gold_parts[:-1], parts[:-1], strict=True):
            comparison.add(first, second)
        return value, parts[-1]
    if len(parts) > 2:
        for part in parts[1:-1]:
            _claim(value, part, comparison)
        parts = (parts[0], parts[-1])
    if named and squeezed(gold_parts[0]) == squeezed(parts[0]):
        return value, parts[-1]
    if len(parts) == 1:
        raise_unless(
            named and not _SUM.search(gold_parts[0].replace("^{-1}", "")), "a value where the reference is an equation"
        )
        return value, parts[0]
    if named and not has_variable(value) and not _SUM.search(gold_parts[0].replace("^{-1}", "")):
        # "x - 5 = 0" is no solution, "5 = x" is one.
        raise_unless(squeezed(gold_parts[0]) == squeezed(parts[1]), "not solved for the name in the reference")
        return value, parts[0]
    if not has_variable("".join(gold_parts)):
        comparison.add(gold_parts[0], parts[0])
        raise_unless(_numerals(gold_parts) == _numerals(parts), "different numbers in an equation")
        return gold_parts[1], parts[1]
    return " = ".join((gold_parts[0], value)), " = ".join(parts)


def _claim(value: str, part: str, comparison: Comparison) -> None:
    if is_name(part):
        raise_unless(in_order(part), "names out of order")
        raise_unless(not (_VARIABLE.fullmatch(part) and _stands_in(part, value)), "a name that its value holds")
    else:
        # "3 = 5" and "2x = 5" claim that the left side is the value too.
        comparison.add(value, part)


def _stands_in(name: str, value: str) -> bool:
    letters = _COMMAND.sub(" ", split_unit(value, trusted=True)[0])
    return bool(re.search(rf"{re.escape(name)}(?!_)", letters))


def _check_names(gold: str, names: str, values: str) -> None:
    found = listing(values)
    point = found if found.ordered else listing(found.items[0])
    raise_unless(len(split_top(names[1:-1], ",")) == len(point.items), "different number of names and values")
    wanted = assigned_names(listing(gold).items)
    if wanted:
        raise_unless(list(split_top(names[1:-1], ",")) == wanted, "different names")
    else:
        raise_unless(in_order(names), "names out of order")


def _numerals(parts: tuple[str, ...]) -> list[list[str]]:
    return [sorted(_DIGITS.findall(part)) for part in parts]


def _exact_side(gold: str, pred: str, comparison: Comparison) -> str:
    exact, _, rough = pred.partition("\\approx")
    raise_unless("\\approx" not in rough, "several approximations")
    exact, rough = exact.strip(), rough.strip()
    value = equation_parts(gold)[-1]
    number, wanted = fast.parse_number(split_unit(rough)[0]), fast.parse_number(split_unit(value, trusted=True)[0])
    if not exact or is_name(exact):
        # Only a decimal may itself be a rounded value.
        raise_unless(wanted is not None and wanted.form == "dec", "an approximation where the reference is exact")
        return f"{exact} = {rough}" if exact else rough
    raise_unless(number is not None, "an approximation that is not a number")
    if wanted is None:
        comparison.pairs.append((split_unit(value, trusted=True)[0], APPROXIMATELY + split_unit(rough)[0]))
    elif number is not None:
        raise_unless(abs(number.value - wanted.value) * 100 <= abs(wanted.value), "two different values")
    return exact
