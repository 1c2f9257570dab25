"""Bases: numerals such as ``1010_2``, whose base LaTeX and math-verify do not support."""

from __future__ import annotations

import re

from fdiv_gym.rewards import squeezed
from fdiv_gym_mathverify.spacing import closed_up

_NUMERAL = re.compile(r"([0-9A-Fa-f]{1,40})_\{?\s*([0-9]{1,2})\s*\}?\Z")
_NAMED = re.compile(r"[0-9.)}\]]\s*_")
_BRACKETED = re.compile(r"\(([0-9A-Fa-f]+)\)(_\{?[0-9]+\}?)\Z")
_DIGITS = re.compile(r"[0-9]{1,40}\Z")


def same_numeral(reference: str, answer: str) -> bool | None:
    """Whether two numerals are the same, if at least one of them names its base.

    The answer may leave out the base of the reference, as it may a unit. A base that only the answer names must
    not change the value: ``1010_2`` is not 1010, ``3_4`` is 3.

    Returns:
        ``None`` if neither names a base, or one is not a numeral.
    """
    reference, answer = _bare(reference), _bare(answer)
    first, second = _NUMERAL.match(reference), _NUMERAL.match(answer)
    if first and second:
        return first.groups() == second.groups()
    if first and (first.group(1)[0].isdigit() or int(first.group(2)) > 10):
        # The only other spelling of a numeral is its digits alone.
        return answer == first.group(1)
    if second and _DIGITS.match(reference):
        digits, base = second.group(1), int(second.group(2))
        return digits == reference and _value(digits, base) == int(reference)
    return None


def _bare(text: str) -> str:
    head, mark, base = text.strip().partition("_")
    text = closed_up(squeezed(head)) + mark + "".join(base.split())
    if text[:1] == "(" and text[-1:] == ")" and text.count("(") == 1:
        text = text[1:-1]
    match = _BRACKETED.match(text)
    return (match.group(1) + match.group(2) if match else text).lstrip("+")


def other_base(reference: str, answer: str) -> bool:
    """Whether an answer names a base that changes its value, and the reference names none."""
    return "_" not in reference and bool(_NAMED.search(answer)) and same_numeral(reference, answer) is not True


def _value(digits: str, base: int) -> int | None:
    try:
        return int(digits, base) if base else None
    except ValueError:
        return None
