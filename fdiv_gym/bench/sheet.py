"""One table for every format of the report, and the cells that it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fdiv_gym.runs.pages import number

SCORE = 3
"""Decimals of scores."""
VERDICTS = "Without an interval that excludes 0 and a corrected p-value of at most 0.05 a comparison is inconclusive."


@dataclass(frozen=True)
class Cell:
    """A cell of a sheet.

    Args:
        text: what is shown.
        value: the number or text it is sorted by, and that CSV holds; None sorts last.
        low: lower end of its interval, if it has one.
        high: upper end.
        note: shown on demand, e.g. why there is no interval.
        heat: 0 to 1 for the colour of a heat map.
    """

    text: str
    value: float | int | str | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""
    heat: float | None = None


@dataclass(frozen=True)
class Sheet:
    """A table.

    Args:
        name: plain, unique in a report; the first column of its CSV rows.
        title: above the table.
        columns: their names; the first ``keys`` of them name a row.
        rows: one cell for each column.
        note: below the title.
        keys: number of columns that name a row.
        section: of the report.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    keys: int = 1
    section: str = "results"


def words(value: object) -> Cell:
    """A cell of text."""
    return Cell(str(value), str(value))


def count(value: int | None) -> Cell:
    """A cell with a whole number."""
    return Cell("-" if value is None else str(value), value)


def quantity(value: float | None, decimals: int | None = None) -> Cell:
    """A cell with a number without an interval."""
    if value is None:
        return Cell("-")
    return Cell(number(value) if decimals is None else f"{value:.{decimals}f}", value)


def estimate(entry: Mapping[str, Any], decimals: int = SCORE, *, heat: bool = False) -> Cell:
    """A cell with a number and its interval, ``0.512 [0.430, 0.601]``."""
    value, low, high, note = entry["value"], entry["low"], entry["high"], entry.get("note", "")
    if value is None:
        return Cell("-", note=note)
    shown = f"{value:.{decimals}f}"
    if low is not None and high is not None:
        shown += f" [{low:.{decimals}f}, {high:.{decimals}f}]"
    return Cell(shown, value, low, high, note, min(max(value, 0.0), 1.0) if heat else None)


def judgement(row: Mapping[str, Any], decimals: int = SCORE) -> list[Cell]:
    """The difference, its p-values and the verdict."""
    p = [quantity(row["p"], SCORE), quantity(row["p_holm"], SCORE)]
    return [estimate(row["difference"], decimals), *p, words(row["verdict"])]


def detectable_note(comparison: Mapping[str, Any]) -> str:
    """The minimum detectable effect in words."""
    effect = comparison["minimum_detectable_effect"]
    if effect is None:
        return "The minimum detectable effect is not known: no comparison has a standard error."
    return (
        f"Minimum detectable effect: {effect:.3f} (median over comparisons). A true difference of this size is found "
        "with probability 0.8; smaller ones are mostly missed."
    )
