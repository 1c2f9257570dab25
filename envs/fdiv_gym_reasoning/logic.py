"""Propositional logic: a parser of formulas; conclusions are checked by truth tables of bounded size."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

MAX_LENGTH = 200
MAX_DEPTH = 20
MAX_VARIABLES = 12

_TOKEN = re.compile("[A-Z](?![A-Z])|[¬∧∨→↔()]")  # noqa: RUF001 - the signs of the data set
_LEVELS = ("↔", "→", "∨", "∧")  # noqa: RUF001

Formula = tuple[Any, ...]
"""``("A",)`` or ``(sign, formula, ...)``."""


class NotAFormulaError(ValueError):
    """A text is no formula, or too large."""


def follows(conclusion: str, premises: Sequence[str], variables: Iterable[str]) -> bool:
    """Whether a formula is a non-trivial consequence of the premises.

    It is trivial if it is a single variable, always true, contains a whole premise, or follows from one premise
    alone, because copying yields such formulas. If one premise implies all others, its consequences are accepted.
    """
    try:
        formula = parse(conclusion)
        known = [parse(premise) for premise in premises]
    except NotAFormulaError:
        return False
    names = sorted(set(variables))
    if not _names(formula) <= set(names) or len(names) > MAX_VARIABLES:
        return False
    if len(formula) == 1 or _parts(formula) & set(known):
        return False
    rows = [dict(zip(names, row, strict=True)) for row in itertools.product((False, True), repeat=len(names))]
    if _implied(formula, [], rows) or not _implied(formula, known, rows):
        return False
    one_is_all = any(all(_implied(other, [premise], rows) for other in known) for premise in known)
    return one_is_all or not any(_implied(formula, [premise], rows) for premise in known)


def _implied(formula: Formula, premises: Sequence[Formula], rows: Iterable[dict[str, bool]]) -> bool:
    return all(passed(formula, row) for row in rows if all(passed(premise, row) for premise in premises))


def _parts(formula: Formula) -> set[Formula]:
    """The formula and everything it is made of, except single variables."""
    if len(formula) == 1:
        return set()
    return {formula}.union(*(_parts(part) for part in formula[1:]))


def passed(formula: Formula, row: dict[str, bool]) -> bool:
    """The truth value of a formula."""
    if len(formula) == 1:
        return row[formula[0]]
    sign, *parts = formula
    if sign == "¬":
        return not passed(parts[0], row)
    left, right = passed(parts[0], row), passed(parts[1], row)
    return {"∧": left and right, "∨": left or right, "→": not left or right, "↔": left == right}[sign]  # noqa: RUF001


def parse(text: str) -> Formula:
    """Parse ``text`` as a formula; signs bind in the order not, and, or, implies, iff, from the left.

    Raises:
        NotAFormulaError: it is not one, or has more than 200 characters or 20 nested brackets.
    """
    compact = "".join(text.split(" "))
    tokens = _TOKEN.findall(compact) if len(text) <= MAX_LENGTH else []
    if not tokens or "".join(tokens) != compact:
        raise NotAFormulaError("not a formula")
    formula, rest = _binary(tokens, 0, 0)
    if rest:
        raise NotAFormulaError("unexpected text after the expression")
    return formula


def _binary(tokens: list[str], level: int, depth: int) -> tuple[Formula, list[str]]:
    if level == len(_LEVELS):
        return _unary(tokens, depth)
    left, tokens = _binary(tokens, level + 1, depth)
    while tokens and tokens[0] == _LEVELS[level]:
        right, tokens = _binary(tokens[1:], level + 1, depth)
        left = (_LEVELS[level], left, right)
    return left, tokens


def _unary(tokens: list[str], depth: int) -> tuple[Formula, list[str]]:
    if not tokens or depth > MAX_DEPTH:
        raise NotAFormulaError("the expression is incomplete or nested too deeply")
    first, rest = tokens[0], tokens[1:]
    if first == "¬":
        inner, rest = _unary(rest, depth + 1)
        return ("¬", inner), rest
    if first == "(":
        inner, rest = _binary(rest, 0, depth + 1)
        if not rest or rest[0] != ")":
            raise NotAFormulaError("a bracket is not closed")
        return inner, rest[1:]
    if not first.isalpha():
        raise NotAFormulaError(f"unexpected {first}")
    return (first,), rest


def _names(formula: Formula) -> set[str]:
    if len(formula) == 1:
        return {formula[0]}
    return set().union(*(_names(part) for part in formula[1:]))
