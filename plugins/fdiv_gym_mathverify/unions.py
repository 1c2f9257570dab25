r"""Unions: intervals with rational ends that do not touch, such as ``(-\infty,-2)\cup[3,\infty)``, compared exactly."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

_LONGEST = 200
_MOST = 6
_NUMBER = r"-?(?:[0-9]{1,12}(?:/[1-9][0-9]{0,11})?|\\frac\{[0-9]{1,12}\}\{[1-9][0-9]{0,11}\})"
_END = rf"(?:[-+]?\\infty|{_NUMBER})"
_INTERVAL = re.compile(rf"([(\[]) ?({_END}) ?, ?({_END}) ?([)\]])\Z")


class Interval(NamedTuple):
    """An interval; an infinite end is None."""

    left: str
    low: Fraction | None
    high: Fraction | None
    right: str


def same_union(reference: str, answer: str) -> bool | None:
    """Whether two unions of separate intervals are the same set; None for anything else."""
    if "\\cup" not in reference or "\\cup" not in answer:
        return None
    first, second = _union(reference), _union(answer)
    return None if first is None or second is None else first == second


def _union(text: str) -> list[Interval] | None:
    """The intervals from left to right; None unless there is a gap between each and the next."""
    parts = [part.strip() for part in text[: _LONGEST + 1].split("\\cup")]
    matches = [_INTERVAL.match(part) for part in parts]
    if len(text) > _LONGEST or len(parts) > _MOST or not all(matches):
        return None
    found = []
    for match in matches:
        assert match is not None
        left, low, high, right = match.groups()
        if low in ("\\infty", "+\\infty") or high == "-\\infty":
            return None
        found.append(Interval(left, _value(low), _value(high), right))
    if any(not _is_proper(interval) for interval in found):
        return None
    found.sort(key=lambda interval: (interval.low is not None, interval.low or Fraction(0)))
    for one, other in pairwise(found):
        if one.high is None or other.low is None or one.high >= other.low:
            return None
    return found


def _is_proper(interval: Interval) -> bool:
    if (interval.low is None and interval.left == "[") or (interval.high is None and interval.right == "]"):
        return False
    return interval.low is None or interval.high is None or interval.low < interval.high


def _value(text: str) -> Fraction | None:
    """The end as a number; None if it is infinite."""
    if text.endswith("infty"):
        return None
    numbers = [int(found) for found in re.findall(r"[0-9]+", text)]
    sign = -1 if text.startswith("-") else 1
    return Fraction(sign * numbers[0], numbers[1] if len(numbers) > 1 else 1)
