"""Inequalities in one variable, written as intervals."""

from __future__ import annotations

import re
from typing import NamedTuple

_OR = re.compile(
    r",?\s{0,9}(?:\\text\s{0,9}\{\s{0,9},?\s{0,9}or\s{0,9}\}|(?<![A-Za-z\\])or(?![A-Za-z])|\\lor(?![a-z])|\\vee)\s{0,9}"
)
_SIGN = re.compile(r"(\\leq|\\geq|<=|>=|<|>)")
_NAME = re.compile(r"[A-Za-z]")
_MORE = {"<": "<", "\\leq": "<=", "<=": "<=", ">": ">", "\\geq": ">=", ">=": ">="}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


class Region(NamedTuple):
    r"""A variable and its range, for example ``x`` and ``(-\infty,1)\cup(2,\infty)``."""

    name: str
    intervals: str


def region(text: str) -> Region | None:
    r"""What inequalities such as ``x<1 \text{ or } 2\leq x<3`` state, or None for any other text."""
    parts = [_interval(part) for part in _OR.split(text)]
    names = {part.name for part in parts if part is not None}
    if None in parts or len(names) != 1:
        return None
    return Region(names.pop(), "\\cup".join(part.intervals for part in parts if part is not None))


def _interval(text: str) -> Region | None:
    parts = [part.strip() for part in _SIGN.split(text)]
    if len(parts) == 3:
        left, sign, right = parts[0], _MORE[parts[1]], parts[2]
        if _NAME.fullmatch(right):
            left, sign, right = right, _TURNED[sign], left
        return _ray(left, sign, right)
    if len(parts) == 5:
        low, first, name, second, high = parts[0], _MORE[parts[1]], parts[2], _MORE[parts[3]], parts[4]
        if first[0] != second[0] or not _NAME.fullmatch(name) or not low or not high:
            return None
        if first[0] == ">":
            low, first, second, high = high, second, first, low
        return Region(name, f"{'[' if '=' in first else '('}{low},{high}{']' if '=' in second else ')'}")
    return None


def _ray(name: str, sign: str, bound: str) -> Region | None:
    if not _NAME.fullmatch(name) or not bound or _NAME.fullmatch(bound):
        return None
    if sign[0] == "<":
        return Region(name, f"(-\\infty,{bound}{']' if '=' in sign else ')'}")
    return Region(name, f"{'[' if '=' in sign else '('}{bound},\\infty)")
