r"""Surds: multiples of one square root or of pi, such as ``7\sqrt{10}`` and ``\frac{6\pi}{3}``, compared exactly."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from fdiv_gym.rewards import squeezed

_LONGEST = 80
_NUMBER = r"(?:([0-9]{1,12})|\\frac\{([0-9]{1,12})\}\{([0-9]{1,12})\})"
_TIMES = r"(?:\\cdot|\\times|\*)"
_ROOT = r"\\sqrt(?:\{([0-9]{1,12})\}|([0-9]))"
_BEFORE = re.compile(rf"(-?)(?:{_NUMBER}{_TIMES}?)?{_ROOT}(?:/([0-9]{{1,12}}))?\Z")
_AFTER = re.compile(rf"(-?){_ROOT}{_TIMES}{_NUMBER}\Z")
_PI = re.compile(rf"(-?)(?:{_NUMBER}{_TIMES}?)?\\pi(?:/([0-9]{{1,12}}))?\Z")
_PI_ABOVE = re.compile(r"(-?)\\frac\{([0-9]{0,12})\\pi\}\{([0-9]{1,12})\}\Z")


class Surd(NamedTuple):
    """A multiple of the root of ``radicand``, or of pi if that is 0."""

    factor: Fraction
    radicand: int


def same_surd(reference: str, answer: str) -> bool | None:
    """Whether two multiples of a root, or two of pi, are equal; None for anything else."""
    if not ("\\sqrt" in reference and "\\sqrt" in answer) and not ("\\pi" in reference and "\\pi" in answer):
        return None
    first, second = _surd(reference), _surd(answer)
    if first is None or second is None or (first.radicand == 0) != (second.radicand == 0):
        return None
    if first.radicand == 0:
        return first.factor == second.factor
    # Values of the same sign are equal if their squares are.
    squares = first.factor**2 * first.radicand == second.factor**2 * second.radicand
    return squares and (first.factor > 0) == (second.factor > 0)


def _surd(text: str) -> Surd | None:
    text = squeezed(text) if len(text) <= _LONGEST else ""  # a space that is left stands between two numbers
    if match := _BEFORE.match(text):
        sign, whole, top, low, braced, bare, below = match.groups()
    elif match := _AFTER.match(text):
        sign, braced, bare, whole, top, low = match.groups()
        below = None
    elif match := _PI.match(text):
        sign, whole, top, low, below = match.groups()
        braced, bare = "0", None
    elif match := _PI_ABOVE.match(text):
        sign, whole, below = match.groups()
        top = low = bare = None
        braced = "0"
    else:
        return None
    bottom = int(low or 1) * int(below or 1)
    factor = Fraction(int(whole or top or 1), bottom) if bottom else Fraction(0)
    radicand = int(braced or bare or 0)
    if not factor or (radicand == 0 and "\\sqrt" in text):
        return None
    return Surd(-factor if sign else factor, radicand)
