r"""Families: values with a whole number as a parameter, such as ``x = \frac{\pi}{4} + k\pi, k \in \mathbb{Z}``."""

from __future__ import annotations

import re
from typing import NamedTuple

from fdiv_gym_mathverify.comparison import Comparison, raise_unless
from fdiv_gym_mathverify.messages import FAMILY
from fdiv_gym_mathverify.structure import (
    assigned_names,
    equation_parts,
    listing,
    right_side,
    split_top,
    with_both_signs,
)

_TEXT = re.compile(r"\\text\s{0,3}\{([^{}]{0,60})\}")
_DOMAIN = re.compile(
    r"[\s,;(]{0,6}(?:(?:for|where|with|and)\s{1,3})?(?:(?:all|any|every|some|each)\s{1,3})?(?:\\forall\s{0,3})?"
    r"(?:([A-Za-z])\s{0,3}\\in(?![A-Za-z])\s{0,3}(?:\\mathbb\s?\{?\s?([ZN])\s?\}?|([ZN]))"
    r"|([A-Za-z])\s{1,3}(?:is\s{1,3})?(?:an?\s{1,3}|any\s{1,3})?integer|integers?\s{1,3}([A-Za-z]))[\s).]{0,6}\Z"
)
_BUILDER = re.compile(r"\\\{(.*?)(?::|\\mid(?![A-Za-z])|\|)(.*)\\\}\Z", re.DOTALL)
_LETTER = re.compile(r"[A-Za-z]")
_TAIL = 120
_USUAL = ("k", "n", "m")


class Family(NamedTuple):
    """Values with a parameter: its letter, its domain (``Z`` or ``N``), the name and the values."""

    letter: str
    domain: str
    name: str
    values: tuple[str, ...]


def compare_families(gold: str, pred: str, comparison: Comparison) -> bool:
    """Compare two families over the whole numbers; False if the reference is none.

    The answer may use another letter, start elsewhere, count backwards, and leave out the domain.
    """
    wanted = read(gold)
    if wanted is None:
        return False
    given = read(pred) or _without_domain(pred, wanted)
    raise_unless(given is not None, "no family over the domain of the reference")
    if given is not None:
        raise_unless(given.domain == wanted.domain, "another domain")
        raise_unless(not wanted.name or not given.name or wanted.name == given.name, "different variables")
        raise_unless(len(given.values) == len(wanted.values), "different number of families")
        comparison.pairs.append((_message(wanted), FAMILY + _message(given)))
    return True


def read(text: str) -> Family | None:
    r"""Read a text that ends with a domain such as ``k \in \mathbb{Z}``; None for any other text."""
    if ("\\in" not in text and "integer" not in text) or "\\approx" in text:
        return None
    built = _BUILDER.match(text.strip())
    if built:
        member, condition = built.group(1).strip(), built.group(2).strip()
        stated = equation_parts(listing(condition).items[0])
        if _LETTER.fullmatch(member) and len(stated) == 2:
            if stated[0] != member:
                return None
            text = condition
        else:
            text = f"{member}, {condition}"
    flat = _TEXT.sub(r" \1 ", text)
    head, tail = flat[:-_TAIL], flat[-_TAIL:]
    match = _DOMAIN.search(tail)
    if not match or (not match.start() and not head):
        return None
    letter, first, second, other, last = match.groups()
    domain = first or second or "Z"
    return _family(head + tail[: match.start()], letter or other or last, domain)


def _family(text: str, letter: str, domain: str) -> Family | None:
    text = text.strip().rstrip(",")
    values = with_both_signs(listing(text))
    if values.ordered or not all(values.items):
        return None
    names = set(assigned_names(values.items))
    right = [right_side(item) for item in values.items]
    if len(names) > 1 or any("=" in item or len(split_top(item, "<>")) > 1 for item in right):
        return None
    if not any(_stands_in(letter, item) for item in right):
        return None
    return Family(letter, domain, names.pop() if names else "", tuple(right))


def _without_domain(text: str, wanted: Family) -> Family | None:
    for letter in dict.fromkeys((wanted.letter, *_USUAL)):
        if _stands_in(letter, text):
            return _family(text, letter, wanted.domain)
    return None


def _stands_in(letter: str, text: str) -> bool:
    return bool(re.search(rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])", text))


def _message(family: Family) -> str:
    return f"{family.letter}{family.domain}" + ";".join(family.values)
