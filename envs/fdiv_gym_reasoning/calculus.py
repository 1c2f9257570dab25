"""Antiderivatives, checked without a computer algebra system.

The expression is parsed without ``eval``. Its derivative is computed with dual numbers at many points and compared
with the integrand.
"""

from __future__ import annotations

import cmath
import random
import re
from collections.abc import Callable

MAX_LENGTH = 500
MAX_DEPTH = 30
POINTS = 90
NEEDED = 4
TOLERANCE = 1e-6

_TOKEN = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?|[A-Za-z]{1,8}|\*\*|[-+*/()]")

Dual = tuple[complex, complex]
"""A value and its derivative."""
Expression = Callable[[Dual], Dual]

_FUNCTIONS: dict[str, tuple[Callable[[complex], complex], Callable[[complex], complex]]] = {
    "sin": (cmath.sin, cmath.cos),
    "cos": (cmath.cos, lambda v: -cmath.sin(v)),
    "tan": (cmath.tan, lambda v: 1 / cmath.cos(v) ** 2),
    "exp": (cmath.exp, cmath.exp),
    "log": (cmath.log, lambda v: 1 / v),
    "ln": (cmath.log, lambda v: 1 / v),
    "sqrt": (cmath.sqrt, lambda v: 0.5 / cmath.sqrt(v)),
    "asin": (cmath.asin, lambda v: 1 / cmath.sqrt(1 - v * v)),
    "acos": (cmath.acos, lambda v: -1 / cmath.sqrt(1 - v * v)),
    "atan": (cmath.atan, lambda v: 1 / (1 + v * v)),
    "sinh": (cmath.sinh, cmath.cosh),
    "cosh": (cmath.cosh, cmath.sinh),
}
_CONSTANTS = {"E": cmath.e, "pi": cmath.pi, "C": 1.0}


class NotAnExpressionError(ValueError):
    """A text is no expression of the grammar, or too large."""


def is_antiderivative(answer: str, integrand: str, variable: str) -> bool:
    """Whether the derivative of ``answer`` is ``integrand`` wherever that is a real number.

    Args:
        answer: the expression in Python notation, with ``C`` for a constant.
        integrand: also in Python notation; must match the grammar.
        variable: the name of the variable.

    Raises:
        NotAnExpressionError: the integrand is not of the grammar (a wrong answer only gives False).
    """
    wanted = parse(integrand, variable)
    try:
        given = parse(answer, variable)
    except NotAnExpressionError:
        return False
    rng = random.Random(0)
    compared = 0
    for width in (0.3, 3.0, 12.0):
        for _ in range(POINTS // 3):
            x: Dual = (complex(rng.uniform(-width, width)), 1 + 0j)
            right = _at(wanted, x)
            if right is None or abs(right[0].imag) > TOLERANCE * (1 + abs(right[0])):
                continue
            found = _at(given, x)
            if found is None or not abs(found[1] - right[0]) <= TOLERANCE * (1 + abs(right[0])):
                return False
            compared += 1
    return compared >= NEEDED


def parse(text: str, variable: str) -> Expression:
    """Parse ``text`` as an expression.

    Raises:
        NotAnExpressionError: another name or character, a syntax error, or more than 500 characters or 30
            nested brackets.
    """
    compact = "".join(text.split(" "))
    tokens = _TOKEN.findall(compact) if len(text) <= MAX_LENGTH else []
    if not tokens or "".join(tokens) != compact:
        raise NotAnExpressionError("not an expression")
    parser = _Parser(tokens, variable)
    expression = parser.sum(0)
    if parser.place < len(tokens):
        raise NotAnExpressionError("unexpected text after the expression")
    return expression


def _at(expression: Expression, x: Dual) -> Dual | None:
    try:
        value, slope = expression(x)
    except (ArithmeticError, ValueError):
        return None
    return (value, slope) if cmath.isfinite(value) and cmath.isfinite(slope) else None


def _negated(value: Dual) -> Dual:
    return -value[0], -value[1]


class _Parser:
    """Recursive descent with Python's precedence: sum, product, sign, power, atom."""

    def __init__(self, tokens: list[str], variable: str) -> None:
        self._tokens = tokens
        self._variable = variable
        self.place = 0

    def sum(self, depth: int) -> Expression:
        total = self._product(depth)
        while (sign := self._take("+", "-")) is not None:
            total = _joined(sign, total, self._product(depth))
        return total

    def _product(self, depth: int) -> Expression:
        total = self._signed(depth)
        while (sign := self._take("*", "/")) is not None:
            total = _joined(sign, total, self._signed(depth))
        return total

    def _signed(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise NotAnExpressionError("nested too deeply")
        if self._take("-") is not None:
            inner = self._signed(depth + 1)
            return lambda x: _negated(inner(x))
        if self._take("+") is not None:
            return self._signed(depth + 1)
        return self._power(depth)

    def _power(self, depth: int) -> Expression:
        base = self._atom(depth)
        if self._take("**") is None:
            return base
        return _joined("**", base, self._signed(depth + 1))

    def _atom(self, depth: int) -> Expression:
        token = self._next()
        if token == "(":
            inner = self.sum(depth + 1)
            self._expect(")")
            return inner
        if token == self._variable:
            return lambda x: x
        if token in _FUNCTIONS:
            function, derivative = _FUNCTIONS[token]
            self._expect("(")
            argument = self.sum(depth + 1)
            self._expect(")")
            return lambda x: _applied(function, derivative, argument(x))
        value = _CONSTANTS.get(token)
        if value is None:
            if not token[:1].isdigit():
                raise NotAnExpressionError(f"unknown name {token!r}")
            value = float(token)
        constant = complex(value)
        return lambda x: (constant, 0j)

    def _expect(self, token: str) -> None:
        if self._take(token) is None:
            raise NotAnExpressionError(f"{token} is missing")

    def _take(self, *wanted: str) -> str | None:
        if self.place < len(self._tokens) and self._tokens[self.place] in wanted:
            return self._next()
        return None

    def _next(self) -> str:
        if self.place == len(self._tokens):
            raise NotAnExpressionError("the expression is incomplete")
        self.place += 1
        return self._tokens[self.place - 1]


def _applied(function: Callable[[complex], complex], derivative: Callable[[complex], complex], at: Dual) -> Dual:
    return function(at[0]), derivative(at[0]) * at[1]


def _joined(sign: str, left: Expression, right: Expression) -> Expression:
    def value(x: Dual) -> Dual:
        (a, da), (b, db) = left(x), right(x)
        if sign == "+":
            return a + b, da + db
        if sign == "-":
            return a - b, da - db
        if sign == "*":
            return a * b, da * b + a * db
        if sign == "/":
            return a / b, (da * b - a * db) / (b * b)
        if db == 0:
            return a**b, b * a ** (b - 1) * da if da else 0j
        power = a**b
        return power, power * (db * cmath.log(a) + b * da / a)

    return value
