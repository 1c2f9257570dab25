r"""Spelling: answers in LaTeX, as most language models write them, in the plain notation of the problems."""

from __future__ import annotations

import re

from fdiv_gym_math.verifier.normal import normalise

MAX_NESTED = 20

_GROUPED = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+")
_ALONE = re.compile(r"((?:[a-z]\s*=\s*)?[-+]?)\s*\\frac\s*\{\s*([0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}")
# Not after a digit: 1\frac{2}{3} is one and two thirds.
_INNER = re.compile(r"(?<![0-9])\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_SHORT = re.compile(r"\\frac\s*([0-9])\s*([0-9])(?![0-9])")
_POWER = re.compile(r"\^\s*\{\s*([0-9]+)\s*\}")
_OPERATOR = re.compile(r"\\(times|cdot|div)(?![a-zA-Z])\s*")


def plain_spelling(answer: str) -> str:
    r"""``\frac{3}{4}`` as ``3/4``, ``x^{2}`` as ``x^2``, ``2\times 3`` as ``2*3``, ``1,234`` as ``1234``.

    Only the notation changes, never the value; what has no plain spelling stays as it is. Any other
    answer that holds no LaTeX and no signs beyond ASCII is returned unchanged.

    Args:
        answer: of a bounded length; the time is linear in it.
    """
    if _GROUPED.fullmatch(answer):
        return answer.replace(",", "")
    if "\\" not in answer and "{" not in answer and answer.isascii():
        return answer
    text = _SHORT.sub(r"\\frac{\1}{\2}", normalise(answer))
    text = _OPERATOR.sub(lambda match: "/" if match.group(1) == "div" else "*", text)
    text = _POWER.sub(r"^\1", text)
    alone = _ALONE.fullmatch(text)
    if alone:
        return f"{alone.group(1)}{alone.group(2)}/{alone.group(3)}"
    for _ in range(MAX_NESTED):
        inner = _INNER.sub(r"((\1)/(\2))", text)
        if inner == text:
            break
        text = inner
    return text
