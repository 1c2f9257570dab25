"""Sides: reduces equations and approximations to the one claim that each makes."""

from __future__ import annotations

import re

from fdiv_gym.rewards import squeezed
from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.claims import in_order, is_name
from fdiv_gym_mathverify.comparison import Comparison, raise_unless
from fdiv_gym_mathverify.messages import APPROXIMATELY
from fdiv_gym_mathverify.structure import equation_parts, listing
from fdiv_gym_mathverify.units import split_unit

_NAME = re.compile(r"[A-Za-z](?:_\{?[A-Za-z0-9]+\}?)?(?:\([A-Za-z0-9]\))?|\([A-Za-z](?:,\s*[A-Za-z])+\)")
_MAX_PARTS = 6


def reduce_equations(gold: str, pred: str, comparison: Comparison) -> tuple[str, str]:
    """Reduce equations and approximations to the one claim that each makes."""
    if "\\approx" in pred and "\\approx" not in gold:
        pred = _exact_side(gold, pred, comparison)
    parts, gold_parts = equation_parts(pred), equation_parts(gold)
    if len(parts) == 2 and len(gold_parts) != 2 and parts[0].startswith("(") and is_name(parts[0]):
        raise_unless(in_order(parts[0]), "names out of order")  # "(x,y) = (2,3)" names the values of a point
        return gold, parts[1]
    if len(listing(pred).items) > 1 and len(listing(gold).items) > 1:
        return gold, pred
    raise_unless(len(parts) <= _MAX_PARTS and all(parts), "not a single equation")
    for part in parts[:-1] if len(parts) > 2 or len(gold_parts) == 1 else ():
        if is_name(part):
            raise_unless(in_order(part), "names out of order")
        else:
            # "3 = 5" and "2x = 5" claim that the left side is the value too.
            comparison.add(gold_parts[-1], part)
    if len(gold_parts) == 1:
        return gold, parts[-1]
    same_name = squeezed(gold_parts[0]) == squeezed(parts[0])
    if len(gold_parts) == 2 and (same_name if len(parts) > 1 else _NAME.fullmatch(gold_parts[0])):
        return gold_parts[1], parts[-1]
    return gold, pred if len(parts) == 1 else f"{parts[0]} = {parts[-1]}"


def _exact_side(gold: str, pred: str, comparison: Comparison) -> str:
    exact, _, rough = pred.partition("\\approx")
    raise_unless("\\approx" not in rough, "several approximations")
    exact, rough = exact.strip(), rough.strip()
    if is_name(exact):
        return rough
    number, wanted = fast.parse_number(split_unit(rough)[0]), fast.parse_number(split_unit(gold)[0])
    raise_unless(number is not None, "an approximation that is not a number")
    if wanted is None:
        comparison.pairs.append((split_unit(gold, trusted=True)[0], APPROXIMATELY + split_unit(rough)[0]))
    elif number is not None:
        raise_unless(abs(number.value - wanted.value) * 100 <= abs(wanted.value), "two different values")
    return exact
