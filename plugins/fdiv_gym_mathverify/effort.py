"""Effort: how expensive an answer may be to compare, counted on its text and thus equal on every machine.

A pair that the clock stops has no score and leaves its group, so a policy could avoid a zero by an answer that takes
for ever. An answer beyond these limits scores 0. The limits grow with the reference: a right answer has about its size.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_TOKEN = re.compile(r"\\[A-Za-z]+|[0-9.]+|[^\s{}\\]")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_ROOT = re.compile(r"\\sqrt\s{0,3}(?:\[[^\[\]]{0,9}\])?\s{0,3}(?:\{[^{}]{0,40}\}|[0-9])")
_NUMERIC_POWER = re.compile(r"[0-9)}]\s{0,3}\^|!|\\d?binom|\\choose")
_REPEATED_FACTORIAL = re.compile(r"[)}!]\s{0,3}!|!\s{0,3}[)}]\s{0,3}!|\\d?binom\s{0,3}\{[^{}]{0,99}\\d?binom")
_FACTORIAL = re.compile(r"([0-9]{1,9})\s{0,3}[)}]{0,3}\s{0,3}!|\\d?binom\s{0,3}\{\s{0,3}([0-9]{1,9})")
_POWER_OF_GROUP = re.compile(r"[)}]\s{0,3}\^\s{0,3}\{?\s{0,3}([0-9]{1,9})")
_PRODUCT = re.compile(r"[0-9]\s{0,3}(?:\\cdot|\\times|\*|\)\s{0,3}\()")
_NUMERAL = re.compile(r"[0-9]{1,40}")
_MATRIX_POWER = re.compile(
    r"\\end\s{0,3}\{[pbvBV]?matrix\}(?:\s|\\right|[)\]]){0,9}\^(?!\s{0,3}\{?\s{0,3}(?:T|\\top|')(?![A-Za-z]))"
)
_EXPONENT = re.compile(r"\^\s{0,3}\{?\s{0,3}([0-9]{1,9})")
_FUNCTION = re.compile(r"\\(?:sqrt|sin|cos|tan|log|ln|exp|arcsin|arccos|arctan|sinh|cosh|tanh|frac)(?![A-Za-z])")
_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_CAP = 10**9

_BASE_SIZE, _SIZE_FACTOR = 60, 5
_BASE_DEPTH = 7
_BASE_EXPONENT_DEPTH = 2
_BASE_BARS = 8
_BASE_FUNCTIONS = 12
_BASE_TERMS = 2000
_BASE_DIGITS = 20_000
_BASE_ANGLE_POWERS = 40
_MOST_IN_EXPONENT = 100_000


@dataclass(frozen=True, slots=True)
class Effort:
    """Counts on a text.

    Args:
        size: numerals, letters, commands and signs.
        depth: nested brackets.
        exponent_depth: exponents inside exponents.
        bars: bars of absolute values.
        functions: roots, fractions and named functions.
        terms: an upper bound of the terms after expansion.
        digits: an upper bound of the digits of factorials, binomials and powers.
        towers: exponents that hold a power, factorial or large product of numbers, repeated factorials, and powers of
            matrices.
    """

    size: int
    depth: int
    exponent_depth: int
    bars: int
    functions: int
    terms: int
    digits: int
    towers: int


def excess(answer: str, reference: str) -> str:
    """Why an answer is too expensive to compare with the reference; empty if it is not."""
    given = effort(answer)
    wanted = effort(reference)
    limits = (
        ("numbers, letters and signs", given.size, _BASE_SIZE + _SIZE_FACTOR * wanted.size),
        ("nested brackets", given.depth, _BASE_DEPTH + wanted.depth),
        ("nested exponents", given.exponent_depth, max(_BASE_EXPONENT_DEPTH, wanted.exponent_depth)),
        ("bars", given.bars, _BASE_BARS + wanted.bars),
        ("functions", given.functions, _BASE_FUNCTIONS + 4 * wanted.functions),
        ("terms after expansion", given.terms, max(_BASE_TERMS, 2 * wanted.terms)),
        ("digits of powers and factorials", given.digits, max(_BASE_DIGITS, 2 * wanted.digits)),
        ("towers of powers and factorials", given.towers, wanted.towers),
        ("powers beside functions of angles", _angle_powers(answer), _BASE_ANGLE_POWERS + 2 * _powers(reference)),
    )
    for name, count, limit in limits:
        if count > limit:
            return f"{count if count < _CAP else 'too many'} {name}, at most {limit} beside this reference"
    return ""


def effort(text: str) -> Effort:
    """The counts of one text whose brackets are pairs."""
    depth, exponent_depth, towers = _nesting(text)
    return Effort(
        len(_TOKEN.findall(text)), depth, exponent_depth, text.count("|"), len(_FUNCTION.findall(text)), _terms(text),
        _digits(text), towers + len(_REPEATED_FACTORIAL.findall(text)) + len(_MATRIX_POWER.findall(text)),
    )  # fmt: skip


def _nesting(text: str) -> tuple[int, int, int]:
    """Depth of brackets, depth of exponents, and the number of exponents that hold a power of numbers."""
    stack: list[tuple[int, bool]] = []
    depth = exponents = towers = 0
    last = ""
    for position, char in enumerate(text):
        if char in "([{":
            stack.append((position, last == "^"))
            depth = max(depth, len(stack))
            exponents = max(exponents, sum(flag for _, flag in stack))
        elif char in ")]}" and stack:
            start, is_exponent = stack.pop()
            if is_exponent:
                inside = text[start + 1 : position]
                towers += bool(_NUMERIC_POWER.search(inside)) or _multiplied(inside) > _MOST_IN_EXPONENT
                towers += text[position + 1 : position + 9].lstrip().startswith("^")
        if not char.isspace():
            last = char
    return depth, exponents, towers


def _multiplied(text: str) -> int:
    """The product of the numerals of an exponent with a multiplication sign; 0 without one."""
    return math.prod(int(found) or 1 for found in _NUMERAL.findall(text)) if _PRODUCT.search(text) else 0


def _powers(text: str) -> int:
    return min(_CAP, sum(int(power) for power in _EXPONENT.findall(text)))


def _angle_powers(text: str) -> int:
    """The sum of the exponents of a text with functions of angles, whose powers are expanded to multiples of angles."""
    return _powers(text) if _ANGLE.search(text) else 0


def _digits(text: str) -> int:
    """The digits of numbers that evaluation may write out."""
    factorials = [int(one or two) for one, two in _FACTORIAL.findall(text)]
    groups = math.prod(max(1, int(power)) for power in _POWER_OF_GROUP.findall(text)[:20])
    powers = sum(int(power) for power in _EXPONENT.findall(text))
    return min(_CAP, sum(factorials) * groups + powers)


def _terms(text: str) -> int:
    """An upper bound of the terms of the expanded text: a product over its brackets, or all monomials of its degree."""
    bare = _COMMAND.sub(" ", text)
    letters = {char for char in bare if char.isalpha() and char != "e"}
    variables = len(letters) + len(set(_ROOT.findall(text)))
    if not variables:
        return 1
    product, degree = 1, 0
    for inner, power in _groups(text):
        count = 1 + len(re.findall(r"[+-]", inner.lstrip("+- ")))
        inside = max([1, *(int(found) for found in _EXPONENT.findall(inner))])
        degree = min(_CAP, degree + power * inside)
        if count > 1:
            product = min(_CAP, product * math.comb(min(power, 10**5) + min(count, 40) - 1, min(count, 40) - 1))
    return min(product, math.comb(min(degree, 10**5) + min(variables, 40), min(variables, 40)))


def _groups(text: str) -> list[tuple[str, int]]:
    """The content of every innermost or outer round bracket with the exponent after it."""
    found, stack = [], []
    for position, char in enumerate(text):
        if char == "(":
            stack.append(position)
        elif char == ")" and stack:
            start = stack.pop()
            power = re.match(r"\s{0,3}\^\s{0,3}\{?\s{0,3}([0-9]{1,9})", text[position + 1 : position + 20])
            found.append((text[start + 1 : position], int(power.group(1)) if power else 1))
    return found
