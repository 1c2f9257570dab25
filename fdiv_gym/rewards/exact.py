"""Exact arithmetic on the text of a model: a parser with bounds, which never executes code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_LENGTH = 200
MAX_DEPTH = 20
MAX_DIGITS = 12

_TOKEN = re.compile(r"[0-9]+|[-+*/()]")
_RATIONAL = re.compile(r"([-+]?[0-9]{1,60})(?:/([0-9]{1,60})|\.([0-9]{1,60}))?")


class NotExactError(ValueError):
    """A text is not an expression of the grammar, or too large; the message gives the reason."""


@dataclass(frozen=True)
class Evaluated:
    """A parsed expression.

    Args:
        value: its value.
        numbers: the numerals in it, from left to right, without signs.
    """

    value: Fraction
    numbers: tuple[int, ...]


def evaluate(text: str) -> Evaluated:
    """The value of an expression of natural numbers, ``+ - * /``, signs and round brackets.

    Raises:
        NotExactError: another character, a syntax error, a division by zero, or more than 200 characters,
            20 nested brackets or 12 digits in a numeral.
    """
    if len(text) > MAX_LENGTH:
        raise NotExactError(f"an expression may have at most {MAX_LENGTH} characters")
    compact = squeeze(text)
    tokens = _TOKEN.findall(compact)
    if "".join(tokens) != compact:
        raise NotExactError("an expression may contain only digits, + - * / and round brackets")
    parser = _Parser(tokens)
    value = parser.sum(0)
    if parser.rest():
        raise NotExactError(f"unexpected text after the expression: {parser.rest()[0]!r}")
    return Evaluated(value, tuple(parser.numbers))


def rational(text: str) -> Fraction | None:
    """The value of a number such as ``-12``, ``3/4`` or ``0.75`` of at most 60 digits; None for any other text."""
    match = _RATIONAL.fullmatch(text)
    if match is None:
        return None
    whole, denominator, decimals = match.groups()
    if denominator is not None:
        return Fraction(int(whole), int(denominator)) if int(denominator) else None
    return Fraction(f"{whole}.{decimals}") if decimals is not None else Fraction(int(whole))


def squeeze(text: str) -> str:
    """``text`` without spaces, except one space between two digits: ``1 2`` is not twelve."""
    return re.sub(r"(?<![0-9]) +| +(?![0-9])", "", re.sub(r" {2,}", " ", text))


class _Parser:
    """Recursive descent: sum, product, factor. ``depth`` counts open brackets and signs."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._place = 0
        self.numbers: list[int] = []

    def rest(self) -> list[str]:
        return self._tokens[self._place :]

    def sum(self, depth: int) -> Fraction:
        value = self._product(depth)
        while (sign := self._take("+", "-")) is not None:
            term = self._product(depth)
            value = value + term if sign == "+" else value - term
        return value

    def _product(self, depth: int) -> Fraction:
        value = self._factor(depth)
        while (sign := self._take("*", "/")) is not None:
            factor = self._factor(depth)
            if sign == "/" and factor == 0:
                raise NotExactError("division by zero")
            value = value * factor if sign == "*" else value / factor
        return value

    def _factor(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH:
            raise NotExactError(f"at most {MAX_DEPTH} brackets and signs may be nested")
        if (sign := self._take("+", "-")) is not None:
            value = self._factor(depth + 1)
            return value if sign == "+" else -value
        if self._take("(") is not None:
            value = self.sum(depth + 1)
            if self._take(")") is None:
                raise NotExactError("a bracket is not closed")
            return value
        return self._number()

    def _number(self) -> Fraction:
        token = self._tokens[self._place] if self._place < len(self._tokens) else ""
        if not token.isdigit():
            raise NotExactError(f"expected a number, got {token!r}" if token else "the expression is incomplete")
        if len(token) > MAX_DIGITS:
            raise NotExactError(f"a number may have at most {MAX_DIGITS} digits")
        self._place += 1
        self.numbers.append(int(token))
        return Fraction(int(token))

    def _take(self, *wanted: str) -> str | None:
        if self._place < len(self._tokens) and self._tokens[self._place] in wanted:
            self._place += 1
            return self._tokens[self._place - 1]
        return None
