r"""Symbols: letters that latex2sympy takes for constants and functions, renamed before it reads a text.

It reads ``\gamma`` as Euler's constant, ``\gamma(x)`` and ``\gamma^2(x)`` as the gamma function, ``I`` and ``I_1`` as
the imaginary unit, and no text with ``E_1`` or ``e_1``. ``\gamma-1`` and ``\gamma-2`` were then the same answer.
"""

from __future__ import annotations

import re

_INDEX = r"\s{0,3}_\s{0,3}(?:\{\s{0,3}([A-Za-z0-9]{1,9})\s{0,3}\}|([A-Za-z0-9]))"
_MARK = re.compile(
    rf"\\Gamma(?=\s{{0,3}}(?:\\left\s{{0,3}})?\()|\\(gamma|Gamma)(?![A-Za-z])(?:{_INDEX})?"
    rf"|\\[A-Za-z]+|(I)(?:{_INDEX})?|([Ee]){_INDEX}"
)


def as_letters(text: str) -> str:
    r"""``text`` with such letters as names that the parser reads as letters; ``\Gamma(x)`` stays a function."""
    if not any(mark in text for mark in ("amma", "I", "E", "e")):
        return text
    return _MARK.sub(_renamed, text)


def _renamed(match: re.Match[str]) -> str:
    greek, *parts = match.groups()
    index = next((part for part in (parts[0], parts[1], parts[3], parts[4], *parts[6:]) if part), "")
    letter = greek or parts[2] or parts[5]
    if not letter:
        return match.group(0)
    return f" G_{{{letter}{index}}}"
