"""Markdown from values and docstrings."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

NOTE = "<!-- Written by `python docs/generate.py`; do not edit. -->"
STACKED_FROM, STACKED_TO = '<div class="stacked" markdown>', "</div>"
"""Around tables whose rows a narrow screen shows one cell below the other; see stylesheets/extra.css."""
LONGEST = 48
"""Characters of a default that still fit into a table; longer ones are below it."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def code(text: str) -> str:
    """A code span for a table cell; no vertical bar may remain in it."""
    return f"`{text}`" if "|" not in text else f"<code>{escaped(text)}</code>"


def escaped(text: str) -> str:
    """Text for a cell: no markup, no column separator."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("*", "&#42;")):
        text = text.replace(character, entity)
    return text


def prose(text: str) -> str:
    """A sentence of a docstring for a cell: code spans stay code spans."""
    pieces = re.split(r"``(.+?)``|`(.+?)`", " ".join(text.split()))
    parts = [escaped(pieces[0])]
    for i in range(1, len(pieces), 3):
        parts += [code(pieces[i] or pieces[i + 1]), escaped(pieces[i + 2])]
    return "".join(parts)


def value_text(value: Any) -> str:
    """A default as TOML text."""
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {value_text(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(value_text(item) for item in value)}]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def summary(value: object) -> str:
    """The first line of a docstring, as markdown."""
    if not (inspect.isclass(value) or inspect.isfunction(value) or inspect.ismodule(value)):
        value = type(value)
    text = (inspect.getdoc(value) or "").partition("\n")[0]
    return text.replace("``", "`").replace("|", "\\|")
