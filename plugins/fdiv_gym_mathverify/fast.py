"""Fast path: numbers compared exactly, in the caller's process, without sympy.

The result is equal, different, or undecided; the worker would return the same decision.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from fdiv_gym_mathverify.sums import same_sum
from fdiv_gym_mathverify.surds import same_surd
from fdiv_gym_mathverify.unions import same_union

MAX_DIGITS = 40
"""Longer numerals go to the worker: int() on text of unbounded length is quadratic."""

DECIMALS = 6
"""Decimal places to which the worker rounds if a side is a decimal."""

_ROUNDING = Fraction(3, 2) / 10**DECIMALS

_INTEGER = re.compile(r"[0-9]{1,40}\Z")
_DECIMAL = re.compile(r"([0-9]{0,40})\.([0-9]{1,40})\Z")
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(\.[0-9]{1,40})?\Z")
_SPACED = re.compile(r"[0-9]{1,3}(?: [0-9]{3})+\Z")
_FRACTION = re.compile(r"\\frac\s*\{\s*(-?[0-9]{1,40})\s*\}\s*\{\s*(-?[0-9]{1,40})\s*\}\Z")
_SHORT_FRACTION = re.compile(r"\\frac\s*([0-9])\s*([0-9])\Z")
_SLASH = re.compile(r"([0-9]{1,40})\s*/\s*([0-9]{1,40})\Z")
_SCIENTIFIC = re.compile(
    r"([0-9]{1,40}(?:\.[0-9]{1,40})?)\s{0,3}(?:\\times|\\cdot|\*)\s{0,3}10\s{0,3}\^\s{0,3}(?:\{\s{0,3}(-?[0-9]{1,2})\s{0,3}\}|([0-9]))\Z"
)
_LONGEST = 3 * MAX_DIGITS


class Number(NamedTuple):
    """A number literal: its exact value and how it was written (``int``, ``dec``, ``frac`` or ``sci``)."""

    value: Fraction
    form: str


def parse_number(text: str) -> Number | None:
    """Read a number literal; ``None`` if ``text`` is anything else (or has too many digits)."""
    text = text.strip()
    sign = 1
    while text[:1] in ("-", "+") and len(text) < _LONGEST:
        sign = -sign if text[0] == "-" else sign
        text = text[1:].lstrip()
        if text[:1] in ("-", "+"):
            return None
    if not text or len(text) > _LONGEST:
        return None
    number = _integer(text) or _decimal(text) or _fraction(text) or _scientific(text)
    return Number(sign * number.value, number.form) if number else None


def decide(reference: str, answer: str) -> bool | None:
    """Whether two values are equal, where their texts tell it; ``None``: the worker must decide.

    They are number literals, multiples of a root or of pi, unions of intervals, or sums of the same terms.
    """
    first, second = parse_number(reference), parse_number(answer)
    if first is not None and second is not None:
        return compare(first, second)
    for same in (same_surd, same_union, same_sum):
        found = same(reference, answer)
        if found is not None:
            return found
    return None


def compare(first: Number, second: Number) -> bool | None:
    """``decide`` for parsed numbers."""
    if first.value == second.value:
        return True
    if "dec" not in (first.form, second.form):
        return False
    difference = abs(first.value - second.value)
    # A difference that rounding may hide is left to the worker.
    return None if difference <= _ROUNDING else False


def _scientific(text: str) -> Number | None:
    match = _SCIENTIFIC.match(text)
    if not match:
        return None
    digits, braced, bare = match.groups()
    return Number(Fraction(digits) * Fraction(10) ** int(braced or bare), "sci")


def _integer(text: str) -> Number | None:
    if _INTEGER.match(text):
        return Number(Fraction(int(text)), "int")
    if _SPACED.match(text) and len(text) <= MAX_DIGITS:
        return Number(Fraction(int(text.replace(" ", ""))), "int")
    return None


def _decimal(text: str) -> Number | None:
    if len(text) > MAX_DIGITS:
        return None
    if _GROUPED.match(text):
        text = text.replace(",", "")
        if "." not in text:
            return Number(Fraction(int(text)), "int")
    match = _DECIMAL.match(text)
    if not match:
        return None
    whole, part = match.groups()
    return Number(Fraction(int(whole or "0") * 10 ** len(part) + int(part), 10 ** len(part)), "dec")


def _fraction(text: str) -> Number | None:
    match = _FRACTION.match(text) or _SHORT_FRACTION.match(text) or _SLASH.match(text)
    if not match:
        return None
    top, bottom = int(match.group(1)), int(match.group(2))
    return Number(Fraction(top, bottom), "frac") if bottom else None
