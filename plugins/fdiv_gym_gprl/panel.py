"""The part of the report that shows what the drift monitor saw and did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fdiv_gym.runs import Panel, PanelFigure, PanelTable

MEANINGS = {"raised": "begins to act", "released": "stops acting"}


def panel_of(steps: Sequence[Mapping[str, Any]], threshold: float, release: float) -> Panel:
    """Shares, drift, multipliers, KL factor and levels over the steps, and the events.

    Args:
        steps: the records of the monitor.
        threshold: above which the monitor acts, in nats.
        release: below which it stops, in nats.
    """
    numbers = [record["step"] for record in steps]
    drift = {
        "D(t)": [(record["step"], record["drift"]) for record in steps],
        "threshold": [(step, threshold) for step in numbers],
        "release": [(step, release) for step in numbers],
    }
    figures = [
        PanelFigure("Shares of the dimensions", "share, 0 to 1", _series(steps, "shares")),
        PanelFigure("Drift of the shares from their start", "nats", drift),
        PanelFigure("Multipliers of the dimensions", "factor", _series(steps, "multipliers")),
        PanelFigure("KL coefficient", "factor", {"factor": [(r["step"], r["kl_scale"]) for r in steps]}),
        PanelFigure("Levels of the dimensions", "score, or value of the component", _series(steps, "levels")),
    ]
    rows = [
        (record["step"], MEANINGS[record["event"]], record["drift"], *_largest(record))
        for record in steps
        if record["event"]
    ]
    table = PanelTable("Events", ("step", "the monitor", "drift, nats", "largest share", "of"), rows)
    return Panel(
        "Drift of the reward's dimensions", [figure for figure in figures if any(figure.series.values())], [table]
    )


def _series(steps: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[tuple[int, float]]]:
    names = sorted({name for record in steps for name in record[key]})
    return {name: [(r["step"], r[key][name]) for r in steps if name in r[key]] for name in names}


def _largest(record: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """The largest share and its dimension."""
    name = max(record["shares"], key=lambda one: record["shares"][one], default=None)
    return (None, None) if name is None else (record["shares"][name], name)
