"""Texts for error messages about arbitrary values and exceptions of plugin code."""

from __future__ import annotations

import re

LONGEST_CAUSE = 400

INTERRUPTS = (KeyboardInterrupt, GeneratorExit)
"""Exceptions that do not count as a plugin failure. Any other exception does, SystemExit included.

GeneratorExit may mean that a generator around the call is closed; a plain call that raises it has failed."""


UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]"
)
"""Characters that act on a terminal or reorder text: C0 (but tab and line feed), C1, marks of direction, surrogates."""


def printable(text: str) -> str:
    """``text`` with every control character as its escape, so that none acts on a terminal."""
    return UNPRINTABLE.sub(lambda found: repr(found.group())[1:-1], text)


def shorten(value: object, length: int = 80) -> str:
    """A value as a short text on one line; its ``__repr__`` may raise."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"<{type(value).__name__}>"
    text = printable(text)
    return text if len(text) <= length else text[: length - 3] + "..."


def cause_of(error: BaseException) -> str:
    """An exception as one printable line: its type and its message; its ``__str__`` may raise."""
    try:
        text = printable(" ".join(str(error).split()))
    except INTERRUPTS:
        raise
    except BaseException:
        text = ""
    text = text if len(text) <= LONGEST_CAUSE else text[: LONGEST_CAUSE - 3] + "..."
    notes = "".join(f" ({printable(str(note))})" for note in getattr(error, "__notes__", [])[:1])
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__) + notes


def is_unicode(text: str) -> bool:
    """Whether a text can be written to a file; Python strings may hold lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def with_article(noun: str) -> str:
    """``a judge``, ``an environment``."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"
