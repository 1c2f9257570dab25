r"""Boxes: every ``\boxed`` of a text, which of them hold an answer, and which follow one another as a list."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s{0,20}")
_NAMED = re.compile(r"([A-Za-z](?:_\{?[A-Za-z0-9]{1,9}\}?)?)\s{0,5}=\s{0,5}\Z")
_MARKUP = re.compile(r"\\[()\[\],;: ]|[$*\s]|\\q?quad(?![A-Za-z])|\\text\s{0,5}\{([^{}]{0,20})\}")
_JOINT = re.compile(r"(?:,|;|,?(?:and|or)|\\lor|\\vee|\\cup|,?(?:and|or)also)")
# Such as "papers and" in "\\boxed{1} papers and \\boxed{2} bins".
_PHRASE = re.compile(r"(?:[A-Za-z]{1,15} ){0,2}[A-Za-z]{3,15}s (?:and|or)(?: (?:the|then|also|another))?")
_NO_NOUNS = """
not no never nor wrong incorrect false instead rather maybe perhaps possibly probably likely about almost nearly hardly
barely less more than below above under over without except excluding but if unless plus minus negative times percent
squared cubed half twice either neither any least most always sometimes besides versus exceeds equals percents
negatives opposites inverses reciprocals squares cubes roots halves thirds quarters tens dozens hundreds thousands
millions billions trillions guesses errors mistakes this thus its means gives makes becomes is was has otherwise
"""
_DOUBTS = frozenset(_NO_NOUNS.split())
_EMPTY = re.compile(
    r"\\phantom\s{0,5}\{[^{}]{0,100}\}|\\(?:hspace|vspace|rule)\*?(?:\{[^{}]{0,20}\}){1,2}|\\(?:text|mathrm|mbox)(?![A-Za-z])"
    r"|\\(?:[lc]?dots|square|Box|q?quad|underline|bigcirc)(?![A-Za-z])|\\[,;:! _]|[\s{}~?._\N{HORIZONTAL ELLIPSIS}$]"
)
_WORDS = frozenset({"answer", "youranswer", "finalanswer", "theanswer", "yourfinalanswer", "youranswerhere"})
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_MOST = 1000
_LONGEST_PLACEHOLDER = 200
_LONGEST_JOINT = 60


class Box(NamedTuple):
    r"""One box and where it stands.

    Args:
        content: the text between its braces; ``None`` if it is not closed or has no braces.
        start: where ``\boxed`` begins.
        end: where the text after it begins.
    """

    content: str | None
    start: int
    end: int


def find_boxes(text: str) -> list[Box]:
    """Every box of a text that is no placeholder, in one pass.

    If one is not closed or has no braces, or there are more than 1000, one box without content.
    """
    starts = list(itertools.islice(_BOX.finditer(text), _MOST + 1))
    if not starts:
        return []
    if len(starts) > _MOST:
        return [Box(None, starts[0].start(), starts[0].end())]
    closing = _closing_braces(text)
    found = []
    for match in starts:
        begin = match.end()
        end = closing.get(begin)
        following = text[begin : begin + 1]
        if not (following.isalnum() or following in ("{", "\\")):
            continue  # "\boxed" in a sentence
        if end is None:
            return [Box(None, match.start(), begin)]
        content = text[begin + 1 : end].strip()
        if not is_placeholder(content):
            found.append(Box(content, match.start(), end + 1))
    return found


def is_placeholder(content: str) -> bool:
    r"""Whether the content of a box is no answer: empty, ``?``, dots, ``\phantom{...}``, "your answer"."""
    if len(content) > _LONGEST_PLACEHOLDER:
        return False
    left = _EMPTY.sub("", content)
    return not left or left.casefold() in _WORDS


def joined_boxes(text: str, boxes: list[Box]) -> list[Box]:
    """The last boxes if nothing, or only commas, "and", "or" and names such as ``y =``, stand between them.

    A plural noun may stand before "and" or "or". Else the last box.
    """
    run = boxes[-1:]
    for box in reversed(boxes[:-1]):
        if box.content is None or not _joins(text[box.end : run[0].start]):
            break
        run.insert(0, box)
    return run


def as_list(text: str, run: list[Box]) -> str:
    """The contents of joined boxes as one list, with their names if every box has one."""
    names = [_NAMED.search(_MARKUP.sub("", text[max(0, box.start - 30) : box.start])) for box in run]
    contents = [box.content or "" for box in run]
    if all(names) and len({match.group(1) for match in names if match}) > 1:
        contents = [f"{match.group(1)} = {content}" for match, content in zip(names, contents, strict=True) if match]
    return ", ".join(contents)


def without_quoted_boxes(response: str, question: str) -> str:
    """``response`` with the boxes of ``question`` opened, unless it has no other box."""
    quoted = {box.content for box in find_boxes(question)}
    if not quoted:
        return response
    boxes = find_boxes(response)
    if all(box.content in quoted for box in boxes) or any(box.content is None for box in boxes):
        return response
    kept, position = [], 0
    for box in boxes:
        if box.content in quoted and box.start >= position:
            kept += [response[position : box.start], box.content or ""]
            position = box.end
    return "".join([*kept, response[position:]])


def _joins(between: str) -> bool:
    if len(between) > _LONGEST_JOINT:
        return False
    words = _MARKUP.sub(r" \1 ", between).split()
    if not words or _JOINT.fullmatch(_NAMED.sub("", "".join(words))):
        return True
    # A noun in the plural and "and", as after a count; a word before a box could change its value.
    return _PHRASE.fullmatch(" ".join(words)) is not None and not _DOUBTS.intersection(map(str.casefold, words))


def _closing_braces(text: str) -> dict[int, int]:
    # One pass for all boxes: a separate scan for each would be quadratic on a megabyte of "\boxed{".
    stack: list[int] = []
    closing: dict[int, int] = {}
    for match in _BRACE.finditer(text):
        mark = match.group()
        if mark == "{":
            stack.append(match.start())
        elif mark == "}" and stack:
            closing[stack.pop()] = match.start()
    return closing
