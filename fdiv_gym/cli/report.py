"""The command ``fdiv-gym report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdiv_gym.cli.screen import echo


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; default: RUN/report.html.")
    ] = None,
) -> None:
    """Write one self-contained HTML file with the curves and samples of a run.

    Several runs are compared by fdiv-gym compare.

    Example: fdiv-gym report runs/first
    """
    from fdiv_gym.runs import write_report

    echo(f"wrote {write_report(run, output)}")
