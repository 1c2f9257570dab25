"""Panels: figures and tables of a callback, kept in ``panels.json`` and shown by the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fdiv_gym.errors import PluginError, TrainerError
from fdiv_gym.registry.guard import boundary, label_of
from fdiv_gym.registry.guard.boundaries import Plugin
from fdiv_gym.registry.messages import shorten
from fdiv_gym.runs.folder import PANELS, RunFolder
from fdiv_gym.runs.plots import is_number

PANELS_SHOWN, FIGURES_SHOWN, SERIES_SHOWN, POINTS_SHOWN = 8, 6, 20, 500
ROWS_SHOWN, COLUMNS_SHOWN = 500, 30
LARGEST = 1e30
"""Values and steps beyond this are not drawn, and integers beyond it are no cells."""

Cell = str | int | float | None


@dataclass(frozen=True)
class PanelFigure:
    """A figure of named series over the steps.

    Args:
        title: above the figure.
        unit: of the vertical axis.
        series: by name, each a sequence of (step, value); a value that is not finite is a gap.
    """

    title: str
    unit: str
    series: Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class PanelTable:
    """A table.

    Args:
        title: above the table.
        columns: the names of the columns.
        rows: each a sequence of texts, numbers or None, one for each column.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Panel:
    """What ``Callback.panels`` returns: a part of the report with a title.

    Args:
        title: of the part.
        figures: of series over the steps.
        tables: below the figures.
    """

    title: str
    figures: Sequence[PanelFigure] = field(default=())
    tables: Sequence[PanelTable] = field(default=())


class WithPanels(Plugin, Protocol):
    """The callback method called here."""

    def panels(self) -> Any: ...  # noqa: D102


def panels_of(callback: WithPanels) -> list[dict[str, Any]]:
    """``callback.panels``, checked, as JSON records with the callback's name.

    Raises:
        PluginError: it failed, or returned no sequence of Panel whose parts have the declared types.
    """
    with boundary(callback, "panels"):
        panels = callback.panels()
        if not isinstance(panels, Sequence) or not all(isinstance(panel, Panel) for panel in panels):
            raise PluginError(f"{label_of(callback)}: panels must return a sequence of Panel, got {shorten(panels)}")
        try:
            return [{"callback": callback.registered_name(), **_record(panel)} for panel in panels]
        except (TypeError, ValueError, AttributeError) as error:
            raise PluginError(f"{label_of(callback)}: panels returned what is no figure or table: {error}") from None


def read_panels(run: RunFolder) -> tuple[list[dict[str, Any]], str]:
    """The panels of a run folder as far as they can be shown, and what is wrong with the file ("" if nothing).

    The file is hostile input: parts that are none are left out, and all numbers and lengths are bounded.
    """
    try:
        record = run.read_json(PANELS)
    except TrainerError as error:
        return [], str(error)
    listed = record.get("panels", [] if not record else None)
    if not isinstance(listed, list):
        return [], f"{run.path / PANELS} is damaged: it holds no list of panels"
    panels, wrong = [], 0
    for panel in listed[:PANELS_SHOWN]:
        try:
            panels.append(_shown(panel))
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            wrong += 1
    left = len(listed) - PANELS_SHOWN
    notes = [f"{wrong} panels are damaged and not shown"] if wrong else []
    notes += [f"{left} more panels are not shown"] if left > 0 else []
    return panels, f"{run.path / PANELS}: {'; '.join(notes)}" if notes else ""


def _record(panel: Panel) -> dict[str, Any]:
    for part, kind in [(f, PanelFigure) for f in panel.figures] + [(t, PanelTable) for t in panel.tables]:
        if not isinstance(part, kind):
            raise TypeError(f"expected a {kind.__name__}, got {shorten(part)}")
    figures = [
        {
            "title": _text(figure.title),
            "unit": _text(figure.unit),
            "series": {
                _text(name): [[int(step), _finite(value)] for step, value in points]
                for name, points in figure.series.items()
            },
        }
        for figure in panel.figures
    ]
    tables = []
    for table in panel.tables:
        rows = [[_cell(cell) for cell in row] for row in table.rows]
        columns = [_text(name) for name in table.columns]
        if any(len(row) != len(columns) for row in rows):
            raise ValueError(f"the table {shorten(table.title)} has rows of another length than its columns")
        tables.append({"title": _text(table.title), "columns": columns, "rows": rows})
    return {"title": _text(panel.title), "figures": figures, "tables": tables}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {shorten(value)}")
    return value.encode(errors="replace").decode()  # lone surrogates cannot be written


def _finite(value: object) -> float | None:
    number = float(value)  # type: ignore[arg-type]  # NumPy's too; anything else raises
    return number if math.isfinite(number) else None


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, str):
        return value if value is None else _text(value)
    if isinstance(value, int):
        if abs(value) > LARGEST:  # Python writes no integer of more than 4300 digits
            raise ValueError(f"a cell holds an integer beyond {LARGEST:g}")
        return int(value)
    return _finite(value)


def _shown(panel: Mapping[str, Any]) -> dict[str, Any]:
    """A panel of the file with what the report shows of it; raises if it is none."""
    return {
        "title": _text(panel["title"]),
        "callback": _text(panel["callback"]),
        "figures": [_shown_figure(figure) for figure in panel["figures"][:FIGURES_SHOWN]],
        "tables": [_shown_table(table) for table in panel["tables"][:FIGURES_SHOWN]],
    }


def _shown_figure(figure: Mapping[str, Any]) -> dict[str, Any]:
    series = {}
    for name, points in list(figure["series"].items())[:SERIES_SHOWN]:
        kept = [(step, float(v)) for step, v in points if _drawable(step) and _drawable(v)]
        stride = -(-len(kept) // POINTS_SHOWN) or 1
        series[_text(name)] = kept[::stride]
    return {"title": _text(figure["title"]), "unit": _text(figure["unit"]), "series": series}


def _shown_table(table: Mapping[str, Any]) -> dict[str, Any]:
    rows = [row[:COLUMNS_SHOWN] for row in table["rows"][:ROWS_SHOWN]]
    if not all(isinstance(row, list) and all(isinstance(cell, Cell) for cell in row) for row in rows):
        raise TypeError("a row of a table is a list of texts and numbers")
    columns = [_text(name) for name in table["columns"][:COLUMNS_SHOWN]]
    return {"title": _text(table["title"]), "columns": columns, "rows": rows, "left": len(table["rows"]) - len(rows)}


def _drawable(value: object) -> bool:
    return is_number(value) and abs(value) <= LARGEST
