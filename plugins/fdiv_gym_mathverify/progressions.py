"""Progressions: when two families of values over the whole numbers are the same; for the workers, which have sympy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy

from fdiv_gym_mathverify.symbols import in_parser

_BRACES = str.maketrans("", "", "{}")


def same_families(gold: str, pred: str, parse: Callable[[str], Any]) -> bool:
    """Whether two families have the same values.

    Args:
        gold: the letter of the parameter, its domain, and the values between semicolons.
        pred: the same for the answer.
        parse: reads one value.
    """
    wanted, given = _values(gold, parse), _values(pred, parse)
    for value in wanted:
        equal = [other for other in given if (_congruent if gold[1] == "Z" else _equal)(value, other)]
        if not equal:
            return False
        given.remove(equal[0])
    return not given


def _values(family: str, parse: Callable[[str], Any]) -> list[Any]:
    values = [parse(text) for text in family[2:].split(";")]
    letter, parameter = family[0], sympy.Symbol("parameter", integer=True)
    return [
        value.subs(
            {
                symbol: parameter
                for symbol in value.free_symbols
                if str(symbol) in (letter, in_parser(letter), in_parser(letter).translate(_BRACES))
            }
        ).doit()
        for value in values
    ]


def _equal(first: Any, second: Any) -> bool:
    return bool(sympy.simplify(first - second) == 0)


def _congruent(first: Any, second: Any) -> bool:
    """Whether two values a + bk agree up to the sign of the step and the start."""
    parameter = sympy.Symbol("parameter", integer=True)
    steps = [sympy.expand(value).coeff(parameter, 1) for value in (first, second)]
    starts = [sympy.expand(value).coeff(parameter, 0) for value in (first, second)]
    linear = all(
        step.is_nonzero is not False and sympy.simplify(value - start - step * parameter) == 0
        for value, start, step in zip((first, second), starts, steps, strict=True)
    )
    if not linear:
        return _equal(first, second)
    if 0 not in (sympy.simplify(steps[0] - steps[1]), sympy.simplify(steps[0] + steps[1])):
        return False
    return bool(sympy.simplify((starts[0] - starts[1]) / steps[0]).is_integer)
