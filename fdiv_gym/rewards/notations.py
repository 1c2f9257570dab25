r"""Notations: other ways to write a fraction, a repeating decimal, a logarithm or the words after a number.

Every pattern has bounds; the caller bounds the length of the text.
"""

from __future__ import annotations

import re

_OVER = re.compile(r"\\over(?![A-Za-z])")
_MOST_OVERS = 10
_PAIRS = {"{": "}", "(": ")", "[": "]"}
_NULL = re.compile(r"\\(?:left|right)\s{0,3}\.")
_BRACED_QUOTIENT = re.compile(r"(?<![\\_^A-Za-z0-9.,}\])])\{([^{}]{1,60})\}\s?/\s?\{([^{}]{1,60})\}(?!\s?[\^_!'{])")
_NATURAL = re.compile(r"\\log\s{0,3}_\s{0,3}(?:\{\s{0,3}e\s{0,3}\}|e(?![A-Za-z]))")
_REPEATING = re.compile(
    r"(?<![0-9.,_^])([0-9]{0,15})\.([0-9]{0,15})"
    r"(?:\\(?:overline|bar)\s?(?:\{([0-9]{1,15})\}|([0-9]))|\\dot\s?(?:\{([0-9])\}|([0-9])))(?!\s?[0-9._^\\({])"
)
_TEXT = r"\{\s?\\text\s?\{\s{0,3}([^{}]{1,40})\}\s?\}"
_UNIT_FRACTION = re.compile(rf"\\frac\s?{_TEXT}\s?{_TEXT}")
_BRACKETED_WORDS = re.compile(
    r"(?<=[0-9}%]) ?(?:\\text ?\{ ?\( ?([A-Za-z][A-Za-z /]{1,40})\) ?\}|\(\\text ?\{([A-Za-z][A-Za-z /]{1,40})\}\))\Z"
)
_RATE = re.compile(r"(?<=[0-9}]) ?(?:/ ?\\text ?\{|\\text ?\{ ?/) {0,3}(?=[A-Za-z])")
_BOLD = re.compile(r"\\(?:boldsymbol|mathbf|bm|pmb|mathit) ?\{")
_PI = re.compile(r"(?<![A-Za-z\\_^])pi(?![A-Za-z])")
_HYPHENED_WORDS = re.compile(r"(?<=[0-9]) ?\\text ?\{ ?-(?=[A-Za-z]{2})")


def infix_fractions(text: str) -> str:
    r"""``{3 \over 4}`` and ``{3}/{4}`` as ``\frac{3}{4}``; any other text unchanged."""
    for _ in range(_MOST_OVERS):
        found = _OVER.search(text)
        if found is None:
            break
        start, end = _group(text, found.start(), found.end())
        top, bottom = text[start : found.start()].strip(), text[found.end() : end].strip()
        if not top or not bottom or not (_balanced(top) and _balanced(bottom)):
            break
        braced = start > 0 and end < len(text)
        left, right = (text[: start - 1], text[end + 1 :]) if braced else ("", "")
        text = rf"{left}\frac{{{top}}}{{{bottom}}}{right}"
    return _BRACED_QUOTIENT.sub(r"\\frac{\1}{\2}", text) if "}" in text and "/" in text else text


def without_null_delimiters(text: str) -> str:
    r"""``text`` without ``\left.`` and ``\right.``, which print nothing."""
    return _NULL.sub("", text) if "\\left" in text or "\\right" in text else text


def words_apart(text: str) -> str:
    r"""One spelling of the words after a number.

    These are ``\frac{\text{miles}}{\text{hour}}``, ``\text{ (hours)}``, ``(\text{hours})`` and ``\text{-hour}``.
    The text must be normalised as far as ``\text`` and ``\frac``.
    """
    if "\\text" not in text:
        return text
    text = _RATE.sub(r"\\text{ per ", text)
    text = _UNIT_FRACTION.sub(r"\\text{\1/\2}", text)
    text = _BRACKETED_WORDS.sub(lambda match: rf"\text{{ {match.group(1) or match.group(2)}}}", text)
    return _HYPHENED_WORDS.sub(r"\\text{ ", text)


def without_bold(text: str) -> str:
    r"""The content of ``\boldsymbol{...}`` or ``\mathbf{...}`` if it is the whole text, else the text."""
    match = _BOLD.match(text) if text.endswith("}") else None
    return text[match.end() : -1].strip() if match and _balanced(text[match.end() : -1]) else text


def greek(text: str) -> str:
    r"""``12 pi`` as ``12 \pi``, unless the text holds words."""
    return _PI.sub(r"\\pi ", text) if "pi" in text and "text" not in text else text


def natural_logarithm(text: str) -> str:
    r"""``\log_e`` as ``\ln``."""
    return _NATURAL.sub(r"\\ln ", text) if "\\log" in text else text


def exact_decimals(text: str) -> str:
    r"""Repeating decimals such as ``0.1\overline{6}``, ``0.\bar{3}`` and ``0.\dot{3}`` as fractions."""
    return _REPEATING.sub(_fraction, text) if "\\" in text and "." in text else text


def _fraction(match: re.Match[str]) -> str:
    whole, fixed, *periods = match.groups()
    period = next(filter(None, periods))
    cycle = 10 ** len(period) - 1
    top = int(whole + fixed or "0") * cycle + int(period)
    return rf"\frac{{{top}}}{{{cycle * 10 ** len(fixed)}}}"


def _group(text: str, left: int, right: int) -> tuple[int, int]:
    """Begin and end of the content of the braces around a place; the whole text if there are none."""
    depth, start = 0, left
    while start > 0:
        char = text[start - 1]
        depth += (char == "}") - (char == "{")
        if depth < 0:
            break
        start -= 1
    depth, end = 0, right
    while end < len(text):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth < 0:
            break
        end += 1
    return start, end


def _balanced(text: str) -> bool:
    stack = []
    for char in text:
        if char in _PAIRS:
            stack.append(_PAIRS[char])
        elif char in ")]}" and (not stack or stack.pop() != char):
            return False
    return not stack
