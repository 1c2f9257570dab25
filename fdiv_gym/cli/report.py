"""The command ``fdiv-gym report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdiv_gym.cli.screen import echo


def report(
    runs: Annotated[list[Path], typer.Argument(help="A run folder, or several to compare.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where to write; default: RUN/report.html, for several runs comparison.html."
        ),
    ] = None,
) -> None:
    """Write one self-contained HTML file: the curves and samples of a run, or a comparison of several runs.

    Example: fdiv-gym report runs/first
    """
    from fdiv_gym.runs import write_comparison, write_report

    if len(runs) == 1:
        echo(f"wrote {write_report(runs[0], output)}")
    else:
        echo(f"wrote {write_comparison(runs, output or Path('comparison.html'))}")
