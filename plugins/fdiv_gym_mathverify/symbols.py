r"""Symbols: letters that latex2sympy takes for constants and functions, renamed before it reads a text.

It reads ``\gamma`` as Euler's constant, ``\gamma(x)`` and ``\gamma^2(x)`` as the gamma function, ``I`` and ``I_1`` as
the imaginary unit, ``E`` as the constant e, and no text with ``E_1`` or ``e_1``. ``\gamma-1`` and ``\gamma-2`` were
then the same answer. A ``d`` takes what follows for its variable: ``d\cdot 2`` is read as the letter ``dcdot``.
"""

from __future__ import annotations

import re

_INDEX = r"\s{0,3}_\s{0,3}(?:\{\s{0,3}([A-Za-z0-9]{1,9})\s{0,3}\}|([A-Za-z0-9]))"
_MARK = re.compile(
    rf"\\Gamma(?=\s{{0,3}}(?:\\left\s{{0,3}})?\()|\\(gamma|Gamma)(?![A-Za-z])(?:{_INDEX})?"
    rf"|\\(?:text|begin|end|operatorname)\s{{0,3}}\{{[^{{}}]{{0,200}}\}}|\\[A-Za-z]+"
    rf"|(I)(?:{_INDEX})?|((?<![0-9])E)(?:{_INDEX})?|(e){_INDEX}|(d)(?:{_INDEX})?"
)
_DIFFERENTIAL = re.compile(
    r"\\(?:i{0,3}|o)int(?![A-Za-z])|\\partial|\\frac\s{0,3}\{\s{0,3}d[^{}]{0,20}\}\s{0,3}\{\s{0,3}d\s{0,3}[A-Za-z\\]"
)


def as_letters(text: str) -> str:
    r"""``text`` with such letters as names that the parser reads as letters; ``\Gamma(x)`` stays a function."""
    if not any(mark in text for mark in ("amma", "I", "E", "e", "d")):
        return text
    differential = "d" in text and _DIFFERENTIAL.search(text) is not None

    def renamed(match: re.Match[str]) -> str:
        groups = match.groups()
        letter = next(filter(None, groups[::3]), "")
        if not letter or (letter == "d" and differential):
            return match.group(0)
        index = next(filter(None, (*groups[1::3], *groups[2::3])), "")
        return f" {in_parser(letter)[:-1]}{index}}}"

    return _MARK.sub(renamed, text)


def in_parser(letter: str) -> str:
    """The name that such a letter has in the parser."""
    return f"G_{{{letter}}}"
