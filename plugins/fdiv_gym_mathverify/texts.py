"""Texts: answers that are words or letters of a choice, and words that must not occur in an answer."""

from __future__ import annotations

import re

from fdiv_gym.rewards import plain, squeezed

_CHOICE = re.compile(r"\(?\s{0,9}(?:\\text\s{0,9}\{\s{0,9})?\(?\s{0,9}[A-J]\s{0,9}\)?\s{0,9}\}?\s{0,9}\)?\Z")
_GROUP = re.compile(r"\\text\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[a-z]+\}|\\[A-Za-z]+")
_WORD = re.compile(r"[^\W\d_]+")
_WORDS_ONLY = re.compile(r"[^\W\d_][^\W\d_'\-., ]*(?:[\s,.'\-]+[^\W\d_]+)*\s*\Z")
_CONNECTORS = frozenset({"and", "or"})
_FUNCTION_NAMES = """
sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp sqrt pi inf infinity max min mod gcd lcm
deg theta alpha beta cm mm km
"""
_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}")
_REMAINDER = re.compile(r"([0-9]{1,20})(?:\\text\{(?:r|R|remainder)\}|[rR]|remainder)([0-9]{1,20})")
_SHORT_WORDS = frozenset({"yes", "no", "odd", "even", "true", "false", "none", "both", "always", "never"})


def is_choice(text: str) -> bool:
    r"""Whether a normalised reference is one letter A to J, bare, bracketed or in ``\text``."""
    return bool(_CHOICE.match(text))


def is_text(text: str) -> bool:
    """Whether a normalised reference is words, to be compared as words."""
    if _DATE.fullmatch(text):
        return True
    words = plain(text)
    if not words:
        return False
    if _holds_foreign_script(words):
        return True
    without = _GROUP.sub(" ", text)
    if "\\" in without or any(char in without for char in "=^_+*/<>|"):
        return False
    if any(char.isdigit() for char in words):
        return _is_label(text, words)
    if not _WORDS_ONLY.match(words):
        return False
    found = _WORD.findall(words)
    quoted = without.strip(" ().") == "" and any(len(word) > 1 for word in found)
    long = any(len(word) > 3 and word not in _FUNCTIONS for word in found)
    return quoted or long or words in _SHORT_WORDS


def remainder(text: str) -> tuple[int, int] | None:
    r"""Quotient and remainder of ``2 \text{ R } 3``; None for any other text."""
    match = _REMAINDER.fullmatch(squeezed(text)) if len(text) <= 80 else None
    return (int(match.group(1)), int(match.group(2))) if match else None


def foreign_words(answer: str, reference: str) -> str:
    """Words in an answer that are no mathematics and do not occur in the reference."""
    known = set(_WORD.findall(_COMMAND.sub(" ", reference).casefold()))
    found = []
    for group in _GROUP.findall(answer):
        found += [word for word in _WORD.findall(group) if word.casefold() not in known | _CONNECTORS]
    bare = _COMMAND.sub(" ", _GROUP.sub(" ", answer))
    for word in _WORD.findall(bare):
        lower = word.casefold()
        if len(word) > 3 and lower not in known and lower not in _FUNCTIONS and not _is_product(word, reference):
            found.append(word)
    return " ".join(found)


def has_variable(answer: str) -> bool:
    """Whether letters remain besides commands, names of functions and the constants e and i."""
    words = _WORD.findall(_COMMAND.sub(" ", answer))
    return any(word not in ("e", "E", "i") and word.casefold() not in _FUNCTIONS for word in words)


def trigonometric(text: str) -> bool:
    """Whether a text holds a function of an angle, so that a degree sign in it is more than a unit."""
    return _TRIGONOMETRIC.search(text) is not None


def _is_product(word: str, reference: str) -> bool:
    # "abcd" is a product of variables if the reference has all of them.
    return len(word) <= 8 and set(word) <= set(_COMMAND.sub(" ", reference))


def _is_label(text: str, words: str) -> bool:
    # "March 3", "10:30 PM", "Room 12": letters before the number, or a time of day.
    head = words.lstrip("( ")
    first = _WORD.match(head)
    if first and len(first.group()) > 3 and first.group() not in _FUNCTIONS:
        return True
    return bool(re.search(r"[0-9]:[0-9]{2}", words) and _WORD.search(words)) and "\\frac" not in text


def _holds_foreign_script(words: str) -> bool:
    return any(ord(char) > 127 and char.isalnum() for char in words)
