r"""Spellings of sets and points: ``{2, 3}``, ``\{2\}\cup\{3\}``, ``\{2\}``, "no solution", ``P(2,3)``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fdiv_gym.rewards import plain
from fdiv_gym_mathverify.comparison import raise_unless
from fdiv_gym_mathverify.structure import both_signs, encloses, listing, split_top

_EMPTY = frozenset({"no solution", "no solutions", "empty set", "the empty set", "there is no solution"})
_INTEGERS = frozenset({"all integers", "integers", "the integers", "the set of integers", "the set of all integers"})
_INFINITY = {"infinity": "\\infty", "positive infinity": "\\infty", "negative infinity": "-\\infty"}
_NOWHERE = frozenset({"dne", "limit does not exist", "the limit does not exist", "it does not exist"})
_POINT = re.compile(r"([A-Z](?:_\{?[0-9]\}?)?'?)\s{0,3}=?\s{0,3}(\(.*\))\Z", re.DOTALL)


def in_symbols(text: str) -> str:
    """The words "no solution", "all integers" and "infinity" in symbols; any other text unchanged."""
    words = plain(text) if len(text) < 60 else ""
    if words in _NOWHERE:
        return "\\text{does not exist}"
    if words in _INFINITY:
        return _INFINITY[words]
    return "\\emptyset" if words in _EMPTY else "\\mathbb{Z}" if words in _INTEGERS else text


def uniform_set(text: str) -> str:
    """One spelling of a set; any other text unchanged."""
    if text.startswith("{") and text.endswith("}") and encloses(text[1:-1]) and len(split_top(text[1:-1], ",")) > 1:
        text = "\\{" + text[1:-1].removesuffix("\\") + "\\}"
    if text.startswith("\\{") and "\\cup" in text:
        parts = [part.strip() for part in text.split("\\cup")]
        if all(part.startswith("\\{") and part.endswith("\\}") and encloses(part[2:-2]) for part in parts):
            text = "\\{" + ",".join(part[2:-2] for part in parts) + "\\}"
    if text.startswith("\\{") and text.endswith("\\}") and "\\infty" not in text:
        inner = text[2:-2].strip()
        if inner.startswith("(") and inner.endswith(")") and _is_tuple(inner):
            text = inner  # a set of one point
    return both_signs(text)


def without_point_names(gold: str, pred: str) -> tuple[str, str]:
    """Both texts without the names of points, if at least one names them: ``P(2,3)``, ``A=(1,2), B=(3,4)``."""
    golds, preds = listing(gold).items, listing(pred).items
    wanted, given = _points(gold, golds), _points(pred, preds)
    if not wanted and not given:
        return gold, pred
    if wanted and given:
        raise_unless(wanted.keys() == given.keys(), "different names of points")
        if len(wanted) == 1:
            return wanted.popitem()[1], given.popitem()[1]
        order = sorted(wanted)
        # In another pair of brackets, the points have an order.
        return _tuple(wanted[name] for name in order), _tuple(given[name] for name in order)
    named, others, other = (wanted, preds, pred) if wanted else (given, golds, gold)
    if len(named) == 1:
        value = next(iter(named.values()))
        return (value, other) if wanted else (other, value)
    if not all(item.startswith("(") for item in others):
        return gold, pred
    if wanted:
        return _tuple(wanted.values()), _tuple(others)
    return gold, ", ".join(given.values())


def _points(text: str, items: tuple[str, ...]) -> dict[str, str]:
    if not text[:1].isupper():
        return {}
    for parts in ((text,), items):
        found = [_POINT.match(part) for part in parts]
        points = {match.group(1): match.group(2) for match in found if match and _is_tuple(match.group(2))}
        if len(points) == len(parts):
            return points
    return {}


def _is_tuple(text: str) -> bool:
    return encloses(text[1:-1]) and len(split_top(text[1:-1], ",")) > 1


def _tuple(points: Iterable[str]) -> str:
    return "(" + ",".join(points) + ")"
