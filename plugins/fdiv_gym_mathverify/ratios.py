"""Ratios: ``1:2:3`` has terms in an order; as a quotient it would equal ``1:3:2``."""

from __future__ import annotations

import re
from fractions import Fraction

from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.comparison import Comparison, raise_unless
from fdiv_gym_mathverify.lists import Compare
from fdiv_gym_mathverify.structure import equation_parts, split_top
from fdiv_gym_mathverify.units import split_unit

_CLOCK = re.compile(r"[0-9]{1,2}\s{0,9}:\s{0,9}[0-9]{2}(?:\s{0,9}:\s{0,9}[0-9]{2})?")
_NAME = r"(?:[A-Za-z](?:_\{?[A-Za-z0-9]{1,9}\}?)?|[A-Z]{2,4})'?"
_LENGTH = r"(?:[A-Z]{2}|[A-Z]_\{?[A-Za-z0-9]{1,9}\}?)'?"
_NAMES = re.compile(
    rf"{_NAME}(?:\s?:\s?{_NAME}){{1,3}}|\\frac\s?\{{\s?{_LENGTH}\s?\}}\s?\{{\s?{_LENGTH}\s?\}}|{_LENGTH}\s?/\s?{_LENGTH}"
)
_NO_RATIO = re.compile(r"\\(?:to|mapsto|rightarrow|mid|mathbb)(?![A-Za-z])|[=<>]|\\in(?![A-Za-z])")


def without_names(gold: str, pred: str) -> tuple[str, str]:
    r"""Both texts without the names of what is compared, as in ``A:B = 1:5`` and ``\frac{AB}{CD} = \frac{1}{5}``.

    The answer may leave the names out. Any other pair is returned as it is.
    """
    wanted, given = equation_parts(gold), equation_parts(pred)
    if len(wanted) != 2 or len(given) > 2 or not _NAMES.fullmatch(wanted[0]):
        return gold, pred
    raise_unless(len(given) == 1 or _bare(given[0]) == _bare(wanted[0]), "another ratio than that of the reference")
    return wanted[1], given[-1]


def compare_ratios(gold: str, pred: str, comparison: Comparison, compare: Compare) -> bool:
    """Compare two ratios term by term; numbers may also be proportional, unless they may be a time of day.

    Returns:
        False if neither is a ratio, or one is the quotient that the other states with two terms.
    """
    wanted, given = _terms(gold), _terms(pred)
    if len(wanted) < 2 and len(given) < 2:
        return False
    raise_unless(all(wanted) and all(given), "a ratio with an empty term")
    clock = bool(_CLOCK.fullmatch(gold))
    if len(wanted) != len(given):
        raise_unless(max(len(wanted), len(given)) == 2 and not clock, "different number of terms in a ratio")
        return False
    if not clock:
        golds, preds = _values(wanted), _values(given)
        if golds and preds:
            same = all(golds[0] * second == preds[0] * first for first, second in zip(golds, preds, strict=True))
            raise_unless(same, "different ratio")
            return True
    units = {split_unit(term, trusted=True)[1] for term in wanted}
    raise_unless(len(units) < 2 or all(split_unit(term)[1] for term in given), "a ratio without its units")
    for first, second in zip(wanted, given, strict=True):
        compare(first, second, comparison)
    return True


def _bare(text: str) -> str:
    return "".join(char for char in text if char not in "{} ")


def _terms(text: str) -> tuple[str, ...]:
    return split_top(text, ":") if ":" in text and not _NO_RATIO.search(text) else (text,)


def _values(terms: tuple[str, ...]) -> list[Fraction]:
    """The values of terms that are numbers and not zero; empty if another term is among them."""
    numbers = [fast.parse_number(term) for term in terms]
    values = [number.value for number in numbers if number is not None and number.value]
    return values if len(values) == len(terms) else []
