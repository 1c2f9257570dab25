r"""Notation: derivatives, primed functions, inverse functions and transposes as symbols, which are not computed.

The parser reads ``\frac{dy}{dx}`` as the derivative of a constant, which is 0, ``f'(x)`` as ``f(x)``, ``f^{-1}(x)`` as
``1/f(x)``, ``f^{(3)}(x)`` as a power and ``A^T`` as ``A``.
"""

from __future__ import annotations

import re

from fdiv_gym.rewards import squeezed

_D = r"(?:\\text\s?\{\s?d\s?\}|\\(?:partial|Delta)(?![A-Za-z])|d)"
_LETTER = r"(?:[A-Za-z]|\\[a-z]{2,7}(?![A-Za-z]))"
_ORDER = r"(?:\^\s?(?:[2-9n]|\{\s?[2-9n]\s?\}))?"
_ABOVE = rf"({_D})\s?({_ORDER})\s?({_LETTER}?'{{0,3}}(?:\([A-Za-z]\))?)"
_BELOW = rf"({_D})\s?({_LETTER})\s?{_ORDER}"
_QUOTIENT = re.compile(rf"\\frac\s?\{{\s?{_ABOVE}\s?\}}\s?\{{\s?{_BELOW}\s?\}}")
_SLASH = re.compile(rf"(?<![A-Za-z\\]){_ABOVE}\s?/\s?{_BELOW}(?![A-Za-z])")
_ARGUMENT = r"(?:\s?\([^()]{0,60}(?:\([^()]{0,40}\)[^()]{0,40}){0,3}\))"
_PRIMED = re.compile(
    rf"(?<![A-Za-z\\])(?:[a-z](?:'{{1,4}}|\^\s?(?:\\prime|\{{\s?\\prime\s?\}})){_ARGUMENT}?"
    rf"|[A-Z](?:'{{1,4}}|\^\s?(?:\\prime|\{{\s?\\prime\s?\}}))\s?\([^(),]{{1,40}}\))"
)
# Without an argument, "g" and "h" may be units.
_INVERSE = re.compile(rf"(?<![A-Za-z\\])(?:[f-hF-H]\s?\^\s?(?:\{{\s?-\s?1\s?\}}|-1){_ARGUMENT}|f\^\{{-1\}})")
_NUMBERED = re.compile(
    rf"(?<![A-Za-z\\])[A-Za-df-z]\s?\^\s?\{{\s?(?:\([0-9A-Za-z]{{1,3}}\)|\[[0-9A-Za-z]{{1,3}}\])\s?\}}{_ARGUMENT}?"
)
_TRANSPOSE = re.compile(r"\^\s?(?:T|\{\s?T\s?\}|\\text\s?\{\s?T\s?\}|\{\s?\\text\s?\{\s?T\s?\}\s?\})")
_MARKS = ("d", "partial", "Delta", "'", "prime", "-1", "- 1", "^{(", "^{[", "T")
_NAMES = "QWVUTSRKLMN"  # no digits of a base above ten
_LETTERS = re.compile(r"[A-Za-z]")
_COMMAND = re.compile(r"\\[A-Za-z]+")


def as_symbols(gold: str, pred: str) -> tuple[str, str]:
    """Both texts with one symbol for each derivative, primed function and inverse function in either of them."""
    if not any(mark in gold + pred for mark in _MARKS):
        return gold, pred
    used = set(_LETTERS.findall(_COMMAND.sub(" ", gold + pred)))
    free = [name for name in _NAMES if name not in used]
    symbols: dict[str, str] = {}

    def symbol(text: str) -> str:
        return symbols.setdefault(text, f"{free[0]}_{{{len(symbols) + 11}}}")  # "Q_1" is a point

    def derivative(match: re.Match[str]) -> str:
        mark, order, function, below, variable = match.groups()
        if _kind(mark) != _kind(below):
            return match.group()
        return symbol(" ".join(("quotient", _kind(mark), squeezed(order).strip("^{}"), function, variable)))

    def other(match: re.Match[str]) -> str:
        return symbol(squeezed(match.group()).replace("^{\\prime}", "'").replace("^\\prime", "'"))

    def replaced(text: str) -> str:
        text = _SLASH.sub(derivative, _QUOTIENT.sub(derivative, text))
        text = _INVERSE.sub(other, _PRIMED.sub(other, text))
        return _TRANSPOSE.sub(lambda _: f"^{{{symbol('transpose')}}}", _NUMBERED.sub(other, text))

    return (replaced(gold), replaced(pred)) if free else (gold, pred)


def _kind(mark: str) -> str:
    return mark if mark.startswith("\\") and "text" not in mark else "d"
