"""Runs cells where the table ``[run]`` of a matrix says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.local import Outcome, run_cells
from fdiv_gym.bench.matrix import RunLimits
from fdiv_gym.errors import ConfigError


def execute(
    cells: Sequence[Cell],
    folder: str | Path,
    limits: RunLimits,
    *,
    rerun: bool = False,
    retry_failed: bool = False,
    report: Callable[[str], None] | None = None,
) -> Outcome:
    """Run the cells that have no record in ``folder``, with the executor that ``limits`` names.

    Args:
        cells: of one matrix, with different folders.
        folder: of the bench.
        limits: ``Matrix.run``.
        rerun: remove and run again the cells whose folder holds another configuration or other plugins.
        retry_failed: run the cells again whose record says that they failed.
        report: takes one line about each cell; by default the screen of runs.

    Raises:
        ConfigError: a limit is wrong, a folder holds another cell (and not ``rerun``), or another driver runs.
        TrainerError: a file cannot be read or written.
    """
    if limits.executor == "ray":
        raise ConfigError('executor = "ray" is not there yet: use executor = "local"')
    return run_cells(
        cells, folder, processes=limits.processes, cores=limits.cores, memory_gb=limits.memory_gb,
        rerun=rerun, retry_failed=retry_failed, report=report,
    )  # fmt: skip
