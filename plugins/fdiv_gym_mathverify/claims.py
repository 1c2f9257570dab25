"""Claims: the left side of an equals sign in an answer."""

from __future__ import annotations

import re

from fdiv_gym_mathverify import structure

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
# "\sqrt{x} = 5" does not say that x is 5. "\sin A" and "|z|" are quantities that questions ask for.
_FUNCTION = re.compile(
    r"\\(?:sqrt|log|ln|lg|exp)(?![A-Za-z])|\^|\|\s?[a-y]\s?\|"
    r"|\\(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?(?![A-Za-z])\s{0,3}[({]?\s{0,3}[a-z]"
)
_TEXT = re.compile(r"\\text\s{0,3}\{([^{}]{0,200})\}")
_CHANGING_WORDS = """
root cubed squared log logarithm ln exp exponential half double doubled triple tripled halved twice thrice quarter
inverse reciprocal opposite negative minus plus times over factorial conjugate not no wrong incorrect false never isn't
except without about approximately approx roughly around almost nearly maybe perhaps possibly probably
"""
_CHANGING = frozenset(_CHANGING_WORDS.split())
_POWERS = frozenset({"square", "cube", "roots"})


def is_name(text: str) -> bool:
    r"""Whether ``text`` is the name of what an equation defines: ``x``, ``f(2)``, ``(x,y)``, ``m+n``, ``\angle ABC``.

    A name has letters, and digits only as an index, in an argument or as the -1 of an inverse. ``2x`` or
    ``x+7`` is no name: ``2x=5`` does not mean that the answer is 5. Nor is a root, logarithm or power, in words
    either. The number pi is no name.
    """
    if _NAME.fullmatch(text):
        return True
    if text.startswith("-") or text.count("|") % 2:
        return False
    if any(char.isdigit() for char in _INDEX.sub("", text)) or _RELATION.search(text):
        return False
    if _FUNCTION.search(text) or any(changes_value(words) for words in _TEXT.findall(text)):
        return False
    return bool(_LETTER.search(text))


def changes_value(label: str) -> bool:
    """Whether words before an equals sign state a function of the value that they name: "square root", "half of x"."""
    words = re.split(r"[^a-z']+", label.casefold().strip())
    ends = words[-1] in _POWERS and (len(words) < 2 or words[-1] != "roots" or words[-2] in _POWERS)
    return ends or any(word in _CHANGING for word in words)


def in_order(text: str) -> bool:
    """Whether a tuple of different names is in alphabetical order; True for any other text."""
    if not (text.startswith("(") and text.endswith(")")):
        return True
    return structure.in_order(text[1:-1])
