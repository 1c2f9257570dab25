"""The command ``fdiv-gym compare``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fdiv_gym.cli.screen import echo


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; those that differ in the seed only are one row.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder for the report: index.html, tables and figures.")
    ] = None,
) -> None:
    """Compare finished runs: scores with intervals, and a verdict for every two rows.

    Runs of another budget or evaluation are refused. With one seed every comparison is inconclusive.

    Example: fdiv-gym compare runs/first runs/hellinger
    """
    from fdiv_gym.bench import read_runs, tables_of, write_bench_report

    found = read_runs(runs)
    tables = tables_of(found.matrix, found.records)
    for path in found.unused:
        echo(f"not used, because not every row has its seed: {path}")
    for comparison in tables["comparisons"]:
        _show(tables, comparison)
    if output is not None:
        echo(f"wrote {write_bench_report(tables, output, found.provenance)}")


def _show(tables: Mapping[str, Any], comparison: Mapping[str, Any]) -> None:
    """The scores and the comparisons of one model."""
    from rich.table import Table
    from rich.text import Text

    from fdiv_gym.bench import detectable_note, estimate
    from fdiv_gym.cli.console import PrintableConsole

    console = PrintableConsole()
    seeds = ", ".join(map(str, tables["seeds"]))
    echo(f"model {comparison['model']}; seeds {seeds}; normalised scores")
    if comparison["left_out"]:
        echo(f"left out, because a row has no run there: {', '.join(comparison['left_out'])}")
    scores = Table()
    for heading in ("", "environment", "score, 95 % interval"):
        scores.add_column(heading, overflow="fold")
    for row in comparison["leaderboard"]:
        objective = row["objective"]
        for environment, cell in comparison["heatmap"][objective].items():
            shown = estimate({**cell, "value": cell["mean"]})
            scores.add_row(Text(objective), Text(environment), Text(shown.text))
    console.print(scores)
    if not comparison["pairs"]:
        return
    pairs = Table()
    for heading in ("A", "B", "A - B, 95 % interval", "p, Holm", "A is"):
        pairs.add_column(heading, overflow="fold")
    for row in comparison["pairs"]:
        p = "-" if row["p_holm"] is None else f"{row['p_holm']:.3f}"
        difference = estimate(row["difference"]).text
        pairs.add_row(Text(row["a"]), Text(row["b"]), Text(difference), p, row["verdict"])
    console.print(pairs)
    notes = dict.fromkeys(row["difference"]["note"] for row in comparison["pairs"] if row["difference"]["note"])
    for note in notes:
        echo(note)
    echo(detectable_note(comparison))
