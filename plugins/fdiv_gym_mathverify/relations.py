"""Relations: when two equations or inequalities state the same; for the workers, which have sympy.

math-verify solves both and compares the solutions. Every equation without a solution then equals every other, and
``0 = 0`` equals all of them.
"""

from __future__ import annotations

from typing import Any

import sympy
from latex2sympy2_extended.logic import And
from sympy.core.relational import Relational

_MAX_SYMBOLS = 4
_MAX_DEGREE = 8
_TURNED = {sympy.Gt: sympy.Lt, sympy.Lt: sympy.Gt, sympy.Ge: sympy.Le, sympy.Le: sympy.Ge}


def same_relation(gold: Any, pred: Any, *settings: Any) -> bool:
    """Whether two relations, or two chains of them, state the same.

    Two equations do if one is a multiple of the other, by a constant or by a factor without zeros where they hold.
    Equations without variables must have equal sides. An equation that always or never holds equals no other one.

    Args:
        gold: the relation of the reference.
        pred: the relation of the answer.
        settings: the settings of the function of math-verify that this one replaces; not used.
    """
    if isinstance(gold, And) or isinstance(pred, And):
        first, second = _chain(gold), _chain(pred)
        return len(first) == len(second) and all(map(same_relation, first, second))
    if not isinstance(gold, Relational) or not isinstance(pred, Relational):
        return False
    if gold.free_symbols != pred.free_symbols:
        return False
    if not gold.free_symbols:
        return _same_sides(gold, pred)
    if isinstance(pred, _TURNED.get(type(gold), ())):
        pred = pred.reversed
    if type(gold) is not type(pred):
        return False
    wanted, given = gold.lhs - gold.rhs, pred.lhs - pred.rhs
    factor = _factor(wanted, given)
    if factor is None or not factor.is_comparable:
        return isinstance(gold, sympy.Eq) and _same_zeros(wanted, given)
    return bool(factor != 0 if isinstance(gold, (sympy.Eq, sympy.Ne)) else factor > 0)


def _chain(relation: Any) -> list[Any]:
    return list(relation._unsorted_args) if isinstance(relation, And) else [relation]


def _same_sides(gold: Relational, pred: Relational) -> bool:
    sides = (pred.lhs, pred.rhs)
    if isinstance(pred, _TURNED.get(type(gold), ())):
        sides = sides[::-1]
    elif type(gold) is not type(pred):
        return False
    orders = [sides, sides[::-1]] if isinstance(gold, (sympy.Eq, sympy.Ne)) else [sides]
    holds = pred.func(pred.lhs.doit(), pred.rhs.doit())
    return holds == sympy.true and any(
        _parts(gold.lhs) == _parts(left) and _parts(gold.rhs) == _parts(right) for left, right in orders
    )


def _parts(expression: Any) -> tuple[str, list[str]]:
    # 4 + 3 is 3 + 4, but 7 is neither: the parser does not evaluate.
    return str(expression.func), sorted(str(part) for part in expression.args or (expression,))


def _factor(wanted: Any, given: Any) -> Any:
    """The quotient of two expressions if it is constant and neither is, else None."""
    wanted, given = (sympy.expand(side.doit()) for side in (wanted, given))
    if not wanted.free_symbols or wanted.free_symbols != given.free_symbols:
        return None
    quotient = sympy.cancel(wanted / given) if wanted.is_rational_function() else wanted / given
    if quotient.free_symbols:
        quotient = sympy.simplify(quotient)
    return None if quotient.free_symbols else quotient


def _same_zeros(wanted: Any, given: Any) -> bool:
    """Whether two rational equations have one numerator, which no denominator shares a zero with."""
    symbols = sorted(wanted.free_symbols, key=str)
    if len(symbols) > _MAX_SYMBOLS:
        return False
    parts = []
    for side in (wanted, given):
        if not side.is_rational_function(*symbols):
            return False
        top, bottom = sympy.fraction(sympy.cancel(sympy.together(side.doit())))
        top, bottom = sympy.Poly(top, *symbols), sympy.Poly(bottom, *symbols)
        if top.total_degree() == 0 or max(top.total_degree(), bottom.total_degree()) > _MAX_DEGREE:
            return False
        parts.append((top.monic(), bottom))
    (first, below), (second, under) = parts
    return first == second and all(_apart(first, bottom) for bottom in (below, under))


def _apart(top: sympy.Poly, bottom: sympy.Poly) -> bool:
    """Whether two polynomials have no common zero."""
    if bottom.total_degree() == 0:
        return True
    return list(sympy.groebner([top.as_expr(), bottom.as_expr()], *top.gens).exprs) == [1]
