r"""Spacing: white space between digits, which separates two numbers unless it groups thousands."""

from __future__ import annotations

import re

_GAP = re.compile(r"(?<=[0-9.]) (?=[0-9.])")
_THOUSANDS = re.compile(r"(?<![0-9.] )(?<![0-9._^])[1-9][0-9]{0,2}(?: [0-9]{3}){1,12}(?![0-9]| [0-9])")
_BASED = re.compile(r"([0-9A-F]{1,4}(?: [0-9A-F]{3,4}){1,20})_\{?[0-9]{1,2}\}?\Z")
_LOGARITHM = re.compile(r"\\log\s?_\s?[0-9] (?=[0-9])")


def side_by_side(text: str) -> int:
    r"""How many gaps in a text have a number on both sides, as in ``1 2``; not ``12 000``, not ``\log_2 8``."""
    if not _GAP.search(text):
        return 0
    based = _BASED.match(text)
    if based and " " not in closed_up(based.group(1)):
        return 0
    return len(_GAP.findall(_LOGARITHM.sub("", _THOUSANDS.sub("1", text))))


def closed_up(digits: str) -> str:
    """A numeral without the spaces between groups of three or of four digits; any other text with its spaces."""
    groups = digits.split(" ")
    size = len(groups[-1])
    grouped = len(groups) > 1 and size in (3, 4) and 0 < len(groups[0]) <= size
    return "".join(groups) if grouped and all(len(group) == size for group in groups[1:]) else digits
