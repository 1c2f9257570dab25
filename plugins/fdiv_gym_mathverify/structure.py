"""Structure: lists, brackets and equation chains, read without parsing mathematics."""

from __future__ import annotations

import re
from typing import NamedTuple

from fdiv_gym_mathverify.units import split_unit

_OPEN = "([{"
_CLOSE = ")]}"
_CONNECTOR = re.compile(
    r",?\s{0,9}(?:\\text\s{0,9}\{\s{0,9},?\s{0,9}(?:and|or)\s{0,9}\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|\\lor|\\vee)\s{0,9}"
)
# Behind a point only a set in braces: "(x,y) \in (1,2)" does not say that x is 1.
_MEMBER = re.compile(
    r"[A-Za-z]\s{0,3}\\in(?![a-z])\s{0,3}(?=[(\[{]|\\\{|\\mathbb|\\emptyset)"
    r"|\(([A-Za-z](?:\s{0,3},\s{0,3}[A-Za-z]){1,5})\)\s{0,3}\\in(?![a-z])\s{0,3}(?=\{|\\\{)"
)
_VARIABLE = re.compile(
    r"[A-Za-z](?:_\{?[A-Za-z0-9]+\}?)?|\([A-Za-z](?:\s{0,3},\s{0,3}[A-Za-z]){1,5}\)"
    r"|[A-Z]{2,4}|\\angle\s{0,3}[A-Z]{1,3}|[A-Za-z]\([0-9]{1,4}\)|(?!\\pi(?![a-z]))\\[a-z]{2,7}(?:_\{?[0-9]\}?)?"
)
_INDEX = re.compile(r"_\{([A-Za-z0-9])\}")
_SIGNS = re.compile(r"\\(?:pm|mp)(?![A-Za-z])")
_LEADING_PLUS = re.compile(r"(\A|=)\s{0,3}\+\s{0,3}")
_NAMED_MATRIX = re.compile(r"[^=]{1,60}=\s{0,3}\\begin\{[pbvB]?matrix\}[^=]{1,1000}\\end\{[pbvB]?matrix\}\Z")
_GROUPED = re.compile(r"-?\s{0,9}[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?\Z")


class Listing(NamedTuple):
    """A list of values: its brackets (empty for a bare list) and its items."""

    left: str
    right: str
    items: tuple[str, ...]

    @property
    def ordered(self) -> bool:
        """Whether the order of the items matters (tuples, intervals, points)."""
        return self.left in ("(", "[")


def listing(text: str) -> Listing:
    """Read ``text`` as a list; a single value is a bare list of one."""
    text = without_member(text.strip())
    for left, right in (("\\{", "\\}"), ("(", ")"), ("(", "]"), ("[", ")"), ("[", "]")):
        if text.startswith(left) and text.endswith(right) and len(text) >= len(left) + len(right):
            inner = text[len(left) : len(text) - len(right)]
            if encloses(inner):
                items = split_top(inner, ",;")
                if len(items) > 1 or left == "\\{":
                    return Listing(left, right, items)
    if _GROUPED.match(split_unit(text)[0]):
        return Listing("", "", (text,))
    return Listing("", "", split_top(_CONNECTOR.sub(",", text), ",;"))


def split_top(text: str, separators: str) -> tuple[str, ...]:
    """Split at separators outside every bracket."""
    parts: list[str] = []
    depth = start = 0
    for position, char in enumerate(text):
        if char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
        elif char in separators and depth <= 0:
            parts.append(text[start:position].strip())
            start = position + 1
    parts.append(text[start:].strip())
    return tuple(parts)


def equation_parts(text: str) -> tuple[str, ...]:
    """The sides of an equation chain ``a = b = c``; one part if there is no plain equals sign."""
    if "=" not in text or any(mark in text for mark in ("<=", ">=", "!=", "==")):
        return (text,)
    if "\\begin" in text and not _NAMED_MATRIX.match(text):
        return (text,)
    return split_top(text, "=")


def with_both_signs(values: Listing) -> Listing:
    """The list with every item that holds one plus-or-minus sign written out twice."""
    if values.ordered:
        return values
    items: list[str] = []
    for item in values.items:
        signs = _SIGNS.findall(item)
        if signs.count("\\pm") > 1 or signs.count("\\mp") > 1 or not signs:
            items.append(item)
            continue
        for turn in ({"\\pm": "+", "\\mp": "-"}, {"\\pm": "-", "\\mp": "+"}):
            signed = item
            for sign, written in turn.items():
                signed = re.sub(re.escape(sign) + "(?![A-Za-z])", written, signed)
            items.append(_LEADING_PLUS.sub(r"\1", signed))
    return values._replace(items=tuple(items))


def both_signs(text: str) -> str:
    """A text with a plus-or-minus sign as the list of both values; any other text unchanged."""
    if not _SIGNS.search(text):
        return text
    values = listing(text)
    expanded = with_both_signs(values)
    if len(expanded.items) == len(values.items):
        return text
    return values.left + ", ".join(expanded.items) + values.right


def assigned_names(items: tuple[str, ...]) -> list[str]:
    """The names in a list of assignments ``a = 1, b = 2``; empty unless every item is one."""
    names = some_names(items)
    return names if len(names) == len(items) else []


def some_names(items: tuple[str, ...]) -> list[str]:
    """The names of those items that are assignments, with one spelling of an index."""
    parts = [equation_parts(item) for item in items]
    return [_INDEX.sub(r"_\1", part[0]) for part in parts if len(part) == 2 and _VARIABLE.fullmatch(part[0])]


def right_side(item: str) -> str:
    """The value of an assignment, or the item itself."""
    parts = equation_parts(item)
    return parts[1] if len(parts) == 2 and _VARIABLE.fullmatch(parts[0]) else item


def as_set(values: Listing) -> str:
    """The list as a set in LaTeX, the way the worker reads it."""
    return "\\{" + ",".join(right_side(item) for item in values.items) + "\\}"


def without_member(text: str) -> str:
    r"""``text`` without a name such as ``x \in`` before a set."""
    member = _MEMBER.match(text)
    return text[member.end() :] if member and in_order(member.group(1) or "") else text


def in_order(names: str) -> bool:
    """Whether letters between commas are in alphabetical order; True for any other text."""
    found = split_top(names, ",")
    return not all(len(name) == 1 for name in found) or list(found) == sorted(set(found))


def encloses(inner: str) -> bool:
    """Whether the brackets of a text are pairs, so that brackets around it are a pair too."""
    # In "(1) + (2)" the first and the last bracket are not a pair.
    depth = 0
    for char in inner:
        if char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
            if depth < 0:
                return False
    return depth == 0
