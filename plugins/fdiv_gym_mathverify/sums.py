r"""Sums: the same terms in another order, as ``x^2+3x+2`` and ``2+3x+x^2``, are equal whatever the terms mean."""

from __future__ import annotations

import re
from collections import Counter

_LONGEST = 200
# No relation, comma, bar or operator that binds less than a sum; no exponent of a numeral, whose sign is no sum.
_EXPRESSION = re.compile(
    r"(?:[0-9A-Za-z+*/^(){}. -]|\\(?:frac|sqrt|sin|cos|tan|cot|sec|csc|ln|log|pi|cdot)(?![A-Za-z]))+\Z"
)
_NUMERAL_EXPONENT = re.compile(r"[0-9] ?[eE] ?[+-]")
_NO_TERM_BEFORE = "^_*/+-"
_OPEN_END = re.compile(r"\\(?!pi)[a-z]+ ?\Z")  # "\sin" and "\cdot" take what follows, sign included


def same_sum(reference: str, answer: str) -> bool | None:
    """True if both are sums of the same terms, character by character; None for anything else."""
    first, second = _terms(reference), _terms(answer)
    if first is None or second is None or len(first) < 2:
        return None
    return True if Counter(first) == Counter(second) else None


def _terms(text: str) -> list[str] | None:
    """The terms of a sum with their signs; None if the text may be anything but an expression."""
    text = " ".join(text.split())
    if len(text) > _LONGEST or not _EXPRESSION.match(text) or _NUMERAL_EXPONENT.search(text):
        return None
    terms, depth, sign, start = [], 0, "+", 0
    before = ""
    for position, char in enumerate(text):
        if char in "({":
            depth += 1
        elif char in ")}":
            depth -= 1
            if depth < 0:
                return None
        elif char in "+-" and depth == 0:
            if before and (before in _NO_TERM_BEFORE or _OPEN_END.search(text[start:position])):
                return None
            if before:
                terms.append(sign + text[start:position].strip())
            sign, start = char, position + 1
        before = before if char == " " else char
    last = text[start:].strip()
    return [*terms, sign + last] if last and depth == 0 and not _OPEN_END.search(last) else None
