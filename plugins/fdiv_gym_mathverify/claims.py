"""Claims: the left side of an equals sign in an answer."""

from __future__ import annotations

import re

from fdiv_gym_mathverify.structure import split_top

_LETTER = re.compile(r"[A-Za-z]")
_NAME = re.compile(
    r"[A-Za-z](?:_\{?[A-Za-z0-9]+\}?)?(?:\^\{?-1\}?)?'*(?:\((?:[^()]|\([^()]*\))*\))?"
    r"|\([A-Za-z](?:,\s*[A-Za-z])+\)"
)
_INDEX = re.compile(r"(?<=[A-Za-z])_(?:[A-Za-z0-9]|\{[A-Za-z0-9]+\})")
_RELATION = re.compile(
    r"[<>,;&:?!]|\\(?:n?leq?|n?geq?|neq?|approx|sim|equiv|in|notin|subset|mathbb|mid|to|implies|iff|land|lor|vee|wedge|pm|q?quad"
    r"|pi|infty|emptyset|cup|cap|ldots|cdots)(?![A-Za-z])|(?<![A-Za-z])(?:or|and|not)(?![A-Za-z])"
)


def is_name(text: str) -> bool:
    r"""Whether ``text`` is the name of what an equation defines: ``x``, ``f(2)``, ``(x,y)``, ``m+n``, ``\angle ABC``.

    A name has letters, and digits only as an index, in an argument or as the -1 of an inverse. ``2x`` or
    ``x+7`` is no name: ``2x=5`` does not mean that the answer is 5. The number pi is no name.
    """
    if _NAME.fullmatch(text):
        return True
    if text.startswith("-") or text.count("|") % 2:
        return False
    if any(char.isdigit() for char in _INDEX.sub("", text)) or _RELATION.search(text):
        return False
    return bool(_LETTER.search(text))


def in_order(text: str) -> bool:
    """Whether a tuple of names is in alphabetical order; True for any other text."""
    if not (text.startswith("(") and text.endswith(")")):
        return True
    names = split_top(text[1:-1], ",")
    return not all(len(name) == 1 for name in names) or list(names) == sorted(names)
