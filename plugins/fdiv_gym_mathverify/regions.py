r"""Regions: sets of real numbers as intervals, unions, solved inequalities, ``x \neq 2`` and set builders."""

from __future__ import annotations

import re
from typing import NamedTuple

from fdiv_gym_mathverify.comparison import Comparison, raise_unless
from fdiv_gym_mathverify.inequalities import region as inequality
from fdiv_gym_mathverify.lists import Compare
from fdiv_gym_mathverify.structure import encloses, split_top

_OR = re.compile(
    r"\s{0,3},?\s{0,3}(?:\\text\s{0,3}\{\s{0,3},?\s{0,3}or\s{0,3}\}|(?<![A-Za-z\\])or(?![A-Za-z])"
    r"|\\(?:lor|vee|cup)(?![A-Za-z]))\s{0,3}"
)
_AND = re.compile(
    r"\s{0,3},?\s{0,3}(?:\\text\s{0,3}\{\s{0,3},?\s{0,3}and\s{0,3}\}|(?<![A-Za-z\\])and(?![A-Za-z])"
    r"|\\(?:land|wedge)(?![A-Za-z])|,)\s{0,3}"
)
_MEMBER = re.compile(r"([A-Za-z])\s{0,3}\\in(?![A-Za-z])\s{0,3}(.*)\Z", re.DOTALL)
_BUILDER = re.compile(
    r"\\\{\s{0,3}([A-Za-z])\s{0,3}(?:\\in(?![A-Za-z])\s{0,3}\\mathbb\s?\{?R\}?\s{0,3})?(?::|\\mid(?![A-Za-z])|\|)(.*)\\\}\Z",
    re.DOTALL,
)
_UNEQUAL = re.compile(r"([A-Za-z])\s{0,3}\\neq(?![A-Za-z])(.*)\Z", re.DOTALL)
_REALS = re.compile(r"\\mathbb\s?\{?R\}?")
_MINUS = re.compile(r"\s{0,3}(?:\\setminus|\\backslash|-|\\smallsetminus)(?![A-Za-z])\s{0,3}")
_BOUND = re.compile(r"[<>]|\\leq|\\geq")
_LINE = "(-\\infty,\\infty)"
_MOST = 10


class Region(NamedTuple):
    """A set of real numbers.

    Args:
        name: the variable, if the text names one.
        intervals: the parts of a union, each an interval in brackets.
        without: what is taken out of them, as a set in LaTeX; may be empty.
        sure: whether the text can be nothing else; ``(2,3)`` may be a point.
    """

    name: str
    intervals: tuple[str, ...]
    without: str
    sure: bool

    def text(self) -> str:
        """The set in LaTeX, the way the worker reads it."""
        union = "\\cup".join(self.intervals)
        return f"({union})\\setminus{self.without}" if self.without else union


def compare_regions(gold: str, pred: str, comparison: Comparison, compare: Compare) -> bool:
    """Compare two sets of real numbers in any notation; False if the texts are not two such sets."""
    wanted = read(gold)
    given = read(pred) if wanted else None
    raise_unless(wanted is None or given is not None or not _BUILDER.match(gold.strip()), "not a set of real numbers")
    if wanted is None or given is None or not (wanted.sure or given.sure):
        return False
    raise_unless(not wanted.name or not given.name or wanted.name == given.name, "different variables")
    single = len(wanted.intervals) == len(given.intervals) == 1 and not wanted.without and not given.without
    if not single:
        comparison.add(wanted.text(), given.text())
        return True
    first, second = wanted.intervals[0], given.intervals[0]
    raise_unless((first[0], first[-1]) == (second[0], second[-1]), "different brackets")
    for one, other in zip(split_top(first[1:-1], ","), split_top(second[1:-1], ","), strict=True):
        compare(one.lstrip("+"), other.lstrip("+"), comparison)
    return True


def read(text: str) -> Region | None:
    """Read a text as a set of real numbers; None if it is none, or is not solved."""
    text = text.strip()
    built = _BUILDER.match(text)
    if built:
        found = read(built.group(2))
        return found._replace(sure=True) if found and found.name == built.group(1) else None
    parts = [part for part in _OR.split(text) if part]
    if not 0 < len(parts) <= _MOST:
        return None
    found_parts = [_part(part) for part in parts]
    known = [part for part in found_parts if part is not None]
    if len(known) < len(parts) or len({part.name for part in known} - {""}) > 1:
        return None
    if len(known) == 1:
        return known[0]
    if any(part.without for part in known):
        return None
    names = {part.name for part in known} - {""}
    intervals = tuple(interval for part in known for interval in part.intervals)
    return Region(names.pop() if names else "", intervals, "", "\\cup" in text or any(part.sure for part in known))


def _part(text: str) -> Region | None:
    member = _MEMBER.match(text)
    if member:
        found = _part(member.group(2))
        return found._replace(name=member.group(1), sure=True) if found and not found.name else None
    if _UNEQUAL.match(text):
        return _punctured(text)
    if _BOUND.search(text):
        return _bounded(text)
    sides = _MINUS.split(text, maxsplit=1) if _REALS.match(text) or "\\setminus" in text else [text]
    base = _LINE if _REALS.fullmatch(sides[0]) else sides[0]
    if not _is_interval(base):
        return None
    if len(sides) == 2:
        without = sides[1]
        braces = without.startswith("\\{") and without.endswith("\\}") and encloses(without[2:-2])
        return Region("", (base,), without, True) if braces or _is_interval(without) else None
    return Region("", (base,), "", "\\infty" in base or (base[0] + base[-1]) in ("[)", "(]"))


def _punctured(text: str) -> Region | None:
    r"""``x \neq 2``, ``x \neq 2, 3`` and ``x \neq 2 \text{ and } x \neq 3`` as the line without points."""
    names, points = set(), []
    for part in _AND.split(text):
        unequal = _UNEQUAL.match(part)
        point = unequal.group(2).strip() if unequal else part.strip()
        names |= {unequal.group(1)} if unequal else set()
        if not point or _BOUND.search(point) or "=" in point or "\\neq" in point:
            return None
        points += [point.replace("\\pm", sign) for sign in "+-"] if point.count("\\pm") == 1 else [point]
    return Region(names.pop(), (_LINE,), "\\{" + ",".join(points) + "\\}", True) if len(names) == 1 else None


def _bounded(text: str) -> Region | None:
    parts = _AND.split(text)
    found = [inequality(part) for part in parts]
    if any(one is None or "=" in one.intervals for one in found):
        return None
    if len(found) == 1 and found[0] is not None:
        return Region(found[0].name, (found[0].intervals,), "", True)
    if len(found) != 2 or found[0] is None or found[1] is None or found[0].name != found[1].name:
        return None
    rays = [one.intervals for one in found if one is not None]
    below = [ray for ray in rays if ray.startswith("(-\\infty,")]
    above = [ray for ray in rays if ray.endswith(",\\infty)")]
    if len(below) != 1 or len(above) != 1:
        return None
    interval = above[0].removesuffix(",\\infty)") + "," + below[0].removeprefix("(-\\infty,")
    return Region(found[0].name, (interval,), "", True)


def _is_interval(text: str) -> bool:
    if text[:1] not in ("(", "[") or text[-1:] not in (")", "]") or not encloses(text[1:-1]):
        return False
    ends = split_top(text[1:-1], ",")
    return len(ends) == 2 and all(ends)
