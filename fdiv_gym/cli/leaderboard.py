"""The command ``fdiv-gym leaderboard``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fdiv_gym.cli.exit_status import ExitStatus
from fdiv_gym.cli.screen import echo

SHOWN = 3
"""Disagreements of a refused bundle that are printed."""


def leaderboard(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Bundles, or folders of benches that hold one.")
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The page; default: leaderboard.html.")] = None,
    skip_refused: Annotated[
        bool, typer.Option("--skip-refused", help="Write the page without the bundles that do not verify.")
    ] = False,
    strict_plugins: Annotated[
        bool, typer.Option("--strict-plugins", help="Refuse bundles whose plugins have other code than here.")
    ] = False,
) -> None:
    """Write one static page of several bundles, each verified first.

    Every row shows an objective with its interquartile mean and interval, and links to the report and the records of
    its bundle; keep the bundles where they are, relative to the page. Only rows of the same model, environments,
    evaluation, budget and batches share a table: other numbers cannot be ranked against each other.

    A bundle that does not verify is named. Then the exit status is 1 and no page is written, or, with --skip-refused,
    that of the others.

    Example: fdiv-gym leaderboard benches/first benches/second --output leaderboard.html
    """
    from fdiv_gym.bench import write_leaderboard

    page = output or Path("leaderboard.html")
    done = write_leaderboard(bundles, page, skip_refused=skip_refused, strict_plugins=strict_plugins)
    for verified in done.refused:
        number = len(verified.faults) + verified.more
        echo(f"REFUSED  {verified.path}: {number} disagreements (see: fdiv-gym verify {verified.path})", err=True)
        for fault in verified.faults[:SHOWN]:
            echo(f"  {fault}", err=True)
    if done.page is not None:
        echo(f"wrote {done.page}: {len(done.bundles)} bundles in {len(done.groups)} tables")
    if done.page is None or (done.refused and not skip_refused):
        echo("no page was written", err=True)
        sys.exit(ExitStatus.FAILED)
