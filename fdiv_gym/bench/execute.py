"""Runs cells where the table ``[run]`` of a matrix says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.folder import Outcome
from fdiv_gym.bench.local import run_cells
from fdiv_gym.bench.matrix_tables import RunLimits
from fdiv_gym.bench.on_ray import run_on_ray
from fdiv_gym.bench.ray_cluster import Resources


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
        ConfigError: a limit is wrong or can never be met, a folder holds another cell (and not ``rerun``), another
            driver runs, or a Ray cluster cannot be reached.
        MissingExtraError: Ray is not installed.
        TrainerError: a file cannot be read or written.
    """
    if limits.executor == "ray":
        resources = Resources(limits.cpus or 1.0, limits.gpus or 0.0, limits.memory_gb)
        return run_on_ray(
            cells, folder, address=limits.address, resources=resources,
            rerun=rerun, retry_failed=retry_failed, report=report,
        )  # fmt: skip
    return run_cells(
        cells, folder, processes=limits.processes, cores=limits.cores, memory_gb=limits.memory_gb,
        rerun=rerun, retry_failed=retry_failed, report=report,
    )  # fmt: skip
