r"""Scales: ``2.5 \text{ million dollars}`` as the number 2500000 and its unit."""

from __future__ import annotations

import re
from fractions import Fraction

_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_WORDS = "|".join(_SCALES)
_NUMBER = r"(-?\$?-?)\s?([0-9][0-9,]{0,20})(\.[0-9]{1,12})?"
_REST = "((?: [A-Za-z ]{1,60})?)"
_SCALED = re.compile(rf"{_NUMBER}(?:\s?\\text\{{\s{{0,3}}({_WORDS}){_REST}\}}| ({_WORDS}){_REST})\Z")
_GROUPS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})*\Z|[0-9]+\Z")


def in_full(text: str) -> str:
    """``text`` with a word such as "million" after its only number multiplied out; any other text unchanged."""
    if not (text[-1:].isalpha() or text.endswith("}")):
        return text
    match = _SCALED.match(text)
    if match is None or not _GROUPS.match(match.group(2)):
        return text
    sign, whole, part, quoted, rest, bare, bare_rest = match.groups()
    value = Fraction(whole.replace(",", "") + (part or "")) * 10 ** _SCALES[quoted or bare]
    words = rest or bare_rest or ""
    if value.denominator != 1 or any(word in words for word in _SCALES):
        return text
    return f"{sign}{value}" + (rf"\text{{{words}}}" if words and quoted else words)
