"""Sheets as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from fdiv_gym.bench.sheet import Cell, Sheet
from fdiv_gym.runs.pages import text

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "[": "{[}", "]": "{]}",
}  # fmt: skip
"""A bracket behind ``\\\\`` would be read as its argument."""
MARKDOWN = "\\`*_{}[]<>()#+!|~&"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What begins a formula in a spreadsheet."""


def markdown(sheets: Sequence[Sheet], title: str) -> str:
    """All sheets as tables of GitHub's Markdown."""
    parts = [f"# {_markdown(title)}"]
    for sheet in sheets:
        lines = [[_markdown(name) for name in sheet.columns], ["---"] * len(sheet.columns)]
        lines += [[_markdown(cell.text) for cell in row] for row in sheet.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts += [f"## {_markdown(sheet.title)}", _markdown(sheet.note), table]
    return "\n\n".join(part for part in parts if part) + "\n"


def latex(sheets: Sequence[Sheet]) -> str:
    """All sheets as tables of plain LaTeX, without any package; to be read by LaTeX's ``input``."""
    parts = ["% Tables of fdiv-gym. They need no package; for wide ones use \\resizebox of graphicx."]
    for sheet in sheets:
        head, *rows = [" & ".join(_latex(shown) for shown in line) + r" \\" for line in _lines(sheet)]
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(sheet.title)}}}",
            rf"\begin{{tabular}}{{{'l' * len(sheet.columns)}}}",
            r"\hline",
            head,
            r"\hline",
            *rows,
            r"\hline",
            r"\end{tabular}",
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def long_csv(sheets: Sequence[Sheet]) -> str:
    """All sheets in long form: table, row, column, value; an interval is in ``<column>.low`` and ``<column>.high``.

    A row is named by its first columns, joined by `` / ``. A text that a spreadsheet would take for a formula has an
    apostrophe before it.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("table", "row", "column", "value"))
    for sheet in sheets:
        for row in sheet.rows:
            name = " / ".join(_flat(cell.text) for cell in row[: sheet.keys])
            for column, cell in zip(sheet.columns[sheet.keys :], row[sheet.keys :], strict=True):
                for suffix, value in _values(cell):
                    writer.writerow([_safe(v) for v in (sheet.name, name, f"{column}{suffix}", value)])
    return buffer.getvalue()


def _values(cell: Cell) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = [("", "" if cell.value is None else cell.value)]
    if cell.low is not None and cell.high is not None:
        found += [(".low", cell.low), (".high", cell.high)]
    return found


def _safe(value: object) -> object:
    if not isinstance(value, str):
        return value
    flat = _flat(value)
    return f"'{flat}" if flat.startswith(FORMULA) else flat


def _lines(sheet: Sheet) -> list[list[str]]:
    return [list(sheet.columns), *([cell.text for cell in row] for row in sheet.rows)]


def _flat(value: str) -> str:
    """One line without control characters."""
    return " ".join(text(value).split())


def _markdown(value: str) -> str:
    return "".join(f"\\{c}" if c in MARKDOWN else c for c in _flat(value))


def _latex(value: str) -> str:
    """Escaped; letters that LaTeX's default encoding may lack are written as ``?``."""
    return "".join(LATEX.get(c, c if ord(c) < 0x180 else "?") for c in _flat(value))
