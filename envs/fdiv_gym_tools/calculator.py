"""A calculator: exact values of expressions, read from their syntax tree; nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Callable
from fractions import Fraction

LONGEST = 200
"""Characters of an expression."""
CHARACTERS = frozenset("0123456789.+-*/%() \t\r\n")
"""Those of expressions. Python warns of none that consists of them, so that no filter of the process has to be set."""
ONLY = "only numbers, + - * / // % ** and round brackets can be computed"
LARGEST_BITS = 4096
"""Bits of the numerator and of the denominator of every value on the way."""
LARGEST_EXPONENT = 1000
DEEPEST = 50
"""Nested operations."""
DECIMALS = 12
"""Decimals of a result that is no whole number."""


def calculate(expression: str) -> str:
    """Compute the value of an arithmetic expression.

    Args:
        expression: Numbers with + - * / // % ** and round brackets, such as (12.5 + 3) * 4.
    """
    value = value_of(expression)
    if value.denominator == 1:
        return str(value.numerator)
    rounded = round(value, DECIMALS)
    text = f"{'-' if rounded < 0 else ''}{_decimal(abs(rounded))}"
    return text if rounded == value else f"about {text}"


def value_of(expression: str) -> Fraction:
    """The exact value of an expression of numbers, ``+ - * / // % **``, signs and round brackets.

    Raises:
        ValueError: it is too long, no such expression, divides by zero, or a value on the way has more than 4096 bits
            in its numerator or denominator, an exponent above 1000, or 50 nested operations.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"an expression may have at most {LONGEST} characters")
    if not set(expression) <= CHARACTERS:
        raise ValueError(ONLY)
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("this is no arithmetic expression") from None
    return _value(tree.body, expression.strip(), 0)


def _value(node: ast.expr, text: str, depth: int) -> Fraction:
    if depth > DEEPEST:
        raise ValueError(f"at most {DEEPEST} operations may be nested")
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _number(ast.get_source_segment(text, node) or "")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        value = _value(node.operand, text, depth + 1)
        return value if isinstance(node.op, ast.UAdd) else -value
    operation = _OPERATIONS.get(type(node.op)) if isinstance(node, ast.BinOp) else None
    if operation is None:
        raise ValueError(ONLY)
    assert isinstance(node, ast.BinOp)
    left, right = _value(node.left, text, depth + 1), _value(node.right, text, depth + 1)
    try:
        return _small(operation(left, right))
    except ZeroDivisionError:
        raise ValueError("division by zero") from None


def _number(text: str) -> Fraction:
    """A decimal number as it is written, not as the nearest binary one."""
    return _small(Fraction(text))


def _small(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > LARGEST_BITS:
        raise ValueError("a value is too large")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > LARGEST_EXPONENT:
        raise ValueError(f"an exponent must be a whole number of at most {LARGEST_EXPONENT}")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    # x of b bits to the power of n has more than (b - 1) n bits.
    if (bits - 1) * abs(exponent) > LARGEST_BITS:
        raise ValueError("a value is too large")
    return base ** int(exponent)


def _decimal(value: Fraction) -> str:
    whole, rest = divmod(value.numerator * 10**DECIMALS // value.denominator, 10**DECIMALS)
    return f"{whole}.{rest:0{DECIMALS}d}".rstrip("0").rstrip(".")


_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: lambda a, b: a % b,
    ast.Pow: _power,
}
