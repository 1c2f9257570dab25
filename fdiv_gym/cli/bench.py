"""The command ``fdiv-gym bench``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdiv_gym.cli.exit_status import ExitStatus
from fdiv_gym.cli.screen import echo
from fdiv_gym.errors import ConfigError

if TYPE_CHECKING:
    from fdiv_gym.bench import Bench

NAMES = {"tuning": "tuning", "table": "table", "control": "control runs", "untrained": "untrained model"}
SHOWN = 10
"""Failed cells that are named."""


def bench(
    matrix: Annotated[Path, typer.Argument(help="A matrix file, e.g. examples/bench_small.toml.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The folder of the bench; default: benches/NAME.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", help="Cells at a time on this machine; default: one a core.")
    ] = None,
    memory_gb: Annotated[
        float | None, typer.Option("--memory-gb", help="End a cell that uses more gigabytes than this, as a failure.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the cells and what of them is done, without starting any.")
    ] = False,
    rerun: Annotated[
        bool,
        typer.Option("--rerun", help="Remove and run again what the folder has of another configuration or plugin."),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run the cells again that failed in an earlier start.")
    ] = False,
) -> None:
    """Compare objectives over environments, models and seeds, on equal terms.

    A matrix file names them, the budget of every cell, and what is tuned. The bench then runs, in this order:

    - tuning: trials of options for each objective, on other seeds and tasks than those of the table
    - table: one run for each objective, environment, model and seed
    - control runs: a reward that is drawn, and a run of the table a second time
    - untrained model: the initial model at several temperatures, and what training has changed

    A cell that fails twice is reported as failed and never counts as a number. Start the same command again to go on
    after an interruption; cells that are done are not run again.

    Example: fdiv-gym bench examples/bench_small.toml --output benches/small
    """
    from fdiv_gym.bench import plan_bench, run_bench

    folder = output or Path("benches") / matrix.stem
    if dry_run:
        if rerun or retry_failed:
            raise ConfigError("--dry-run starts nothing: omit --rerun and --retry-failed")
        _show_plan(plan_bench(matrix, folder))
        return
    limits = {"processes": processes, "memory_gb": memory_gb}
    again = shlex.join(["fdiv-gym", "bench", str(matrix), "--output", str(folder)])
    try:
        done = run_bench(
            matrix, folder, limits={name: value for name, value in limits.items() if value is not None},
            rerun=rerun, retry_failed=retry_failed,
        )  # fmt: skip
    except KeyboardInterrupt:
        _exit_interrupted(again)
    _show(done, again)
    if done.interrupted:
        _exit_interrupted(again)
    if done.failed:
        sys.exit(ExitStatus.FAILED)


def _exit_interrupted(again: str) -> None:
    echo(f"interrupted; go on with: {again}", err=True)
    sys.exit(ExitStatus.INTERRUPTED)


def _show(done: Bench, again: str) -> None:
    """Print what is done and what failed."""
    from fdiv_gym.cli.console import PrintableConsole

    console = PrintableConsole()
    _print_counts(done, f"bench in {done.folder}")
    for name in done.failed[:SHOWN]:
        console.print(f"failed: {name}", highlight=False, markup=False, soft_wrap=True)
    if len(done.failed) > SHOWN:
        console.print(f"and {len(done.failed) - SHOWN} more", highlight=False)
    if done.failed:
        console.print(f"Run them again with: {again} --retry-failed", highlight=False, markup=False, soft_wrap=True)


def _show_plan(planned: Bench) -> None:
    """Print the cells by kind, and what of them is done."""
    from fdiv_gym.cli.console import PrintableConsole

    console = PrintableConsole()
    _print_counts(planned, "nothing was started")
    if planned.trials:
        console.print(f"{planned.trials} trials for each objective", highlight=False)
    for kind, names in planned.ids.items():
        if kind != "tuning":
            for name in names[:SHOWN]:
                console.print(f"{NAMES[kind]}: {name}", highlight=False, markup=False, soft_wrap=True)
            if len(names) > SHOWN:
                console.print(f"and {len(names) - SHOWN} more", highlight=False)


def _print_counts(found: Bench, title: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from fdiv_gym.cli.console import PrintableConsole

    table = Table(title=Text(title))
    for heading in ("", "cells", "done", "failed", "left"):
        table.add_column(heading, justify="right" if heading else "left")
    for kind, count in found.counts.items():
        left = count.cells - count.done - count.failed
        table.add_row(NAMES[kind], *map(str, (count.cells, count.done, count.failed, left)))
    PrintableConsole().print(table)
