"""Output of plain text, readable on 80 columns, and of JSON."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from fdiv_gym.registry.messages import printable

MOST_COLUMNS = 100


def columns() -> int:
    """The width of output: that of the terminal, up to a maximum for readability."""
    return min(shutil.get_terminal_size((80, 24)).columns, MOST_COLUMNS)


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text with control characters as escapes; all plain output of the commands goes through here."""
    typer.echo(printable(text), err=err, nl=nl)


def secho(text: str = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """``echo`` in a style of ``typer.style``."""
    typer.echo(typer.style(printable(text), **style), err=err, nl=nl)


def write(text: str = "", indent: int = 0, hanging: int | None = None) -> None:
    """Print a paragraph, wrapped; ``hanging`` indents its further lines."""
    lines = textwrap.wrap(
        " ".join(text.split()), columns(), initial_indent=" " * indent,
        subsequent_indent=" " * (indent if hanging is None else hanging), break_on_hyphens=False,
    )  # fmt: skip
    echo("\n".join(lines))


def write_rows(rows: Iterable[Sequence[str]], indent: int = 2) -> None:
    """Print rows of two cells: the first in a column as wide as it needs (up to a third), the second wrapped."""
    rows = [(first, second) for first, second in rows]
    most = columns() // 3
    width = max((len(first) for first, _ in rows if len(first) <= most), default=0)
    for first, second in rows:
        start = indent + width + 2
        lines = textwrap.wrap(" ".join(second.split()), max(columns() - start, 20), break_on_hyphens=False) or [""]
        if len(first) > width:
            echo(" " * indent + first)
            first = ""
        echo((" " * indent + first.ljust(width) + "  " + lines[0]).rstrip())
        for line in lines[1:]:
            echo(" " * start + line)


def write_json(record: Any) -> None:
    """Print a JSON document."""
    echo(json.dumps(record, indent=2, default=str))
