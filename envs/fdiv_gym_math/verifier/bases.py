"""Bases: numerals such as ``1010_2``, whose base neither LaTeX nor math-verify knows."""

from __future__ import annotations

import re

_NUMERAL = re.compile(r"([0-9A-Fa-f]{1,40})_\{?\s*([0-9]{1,2})\s*\}?\Z")
_DIGITS = re.compile(r"[0-9]{1,40}\Z")


def same_numeral(reference: str, answer: str) -> bool | None:
    """Whether two numerals of which one at least names its base are the same.

    Like a unit, the base of the reference may be left out. A base that the reference does not name must
    leave the value as it is: ``1010_2`` is not 1010, ``3_4`` is 3.

    Returns:
        ``None`` if neither names a base, or one is something else than a numeral.
    """
    first, second = _NUMERAL.match(reference), _NUMERAL.match(answer)
    if first and second:
        return first.groups() == second.groups()
    if first and _DIGITS.match(answer):
        return answer == first.group(1)
    if second and _DIGITS.match(reference):
        digits, base = second.group(1), int(second.group(2))
        return digits == reference and _value(digits, base) == int(reference)
    return None


def _value(digits: str, base: int) -> int | None:
    try:
        return int(digits, base) if base else None
    except ValueError:
        return None
