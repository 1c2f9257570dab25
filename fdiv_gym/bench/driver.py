"""The driver of a bench: tuning, cells, controls, what training has done, then tables, report and bundle.

It keeps nothing but files: started again after an interruption, it reads them and goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fdiv_gym.bench.after import measure_after
from fdiv_gym.bench.bundle import write_bundle
from fdiv_gym.bench.bundle_files import REPORT, Bundle
from fdiv_gym.bench.cells import Cell, Kind, expand
from fdiv_gym.bench.checks import check_matrix
from fdiv_gym.bench.controls import UNTRAINED_FILE, control_cells, measure_untrained, untrained_folders
from fdiv_gym.bench.execute import execute
from fdiv_gym.bench.folder import Outcome, locked_bench
from fdiv_gym.bench.local import lines_to
from fdiv_gym.bench.matrix import Matrix, load_matrix
from fdiv_gym.bench.matrix_tables import RunLimits
from fdiv_gym.bench.record import read_record
from fdiv_gym.bench.report import PAGE
from fdiv_gym.bench.search import Chosen
from fdiv_gym.bench.start import matrix_for, open_bench, record_start
from fdiv_gym.bench.tuning import choice_in, tune
from fdiv_gym.errors import FdivGymError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Count:
    """The cells of one kind.

    Args:
        cells: all of them.
        done: those with a result.
        failed: those that failed.
    """

    cells: int
    done: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Bench:
    """A bench, finished or interrupted, or as it is planned.

    Args:
        folder: of the bench.
        counts: for ``tuning``, ``table``, ``control`` and ``untrained``, those that the matrix has.
        trials: of the tuning, for each objective.
        failed: ids of the cells that failed.
        interrupted: whether a signal stopped it before its end.
        ids: of the cells, by kind, as far as they are known.
    """

    folder: Path
    counts: Mapping[str, Count]
    trials: int = 0
    failed: tuple[str, ...] = ()
    interrupted: bool = False
    ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def run_bench(
    matrix_path: str | Path,
    folder: str | Path,
    *,
    limits: Mapping[str, object] | None = None,
    rerun: bool = False,
    retry_failed: bool = False,
    command: Sequence[str] | None = None,
    report: Say | None = None,
) -> Bench:
    """Run the comparison of a matrix file, or what is left of it. The folder is locked from the start to the end.

    Args:
        matrix_path: the matrix file.
        folder: a new or empty folder, or that of the same matrix.
        limits: options of ``[run]`` that replace those of the file.
        rerun: remove and run again what the folder has of another configuration or other plugins.
        retry_failed: run the cells again that failed.
        command: for ``bench.json``; by default that of this process.
        report: takes lines about the progress; by default the screen of runs.

    Raises:
        ConfigError: the matrix is wrong, the folder holds something else, or another driver has locked it.
        BenchError: every trial of an objective failed.
        PluginError: a plugin is missing or broken.
        TrainerError: a file cannot be read or written.
    """
    folder = Path(folder)
    run_limits = with_limits(load_matrix(matrix_path).run, limits or {})
    check_matrix(matrix_for(Path(matrix_path), folder))  # before the folder belongs to it
    with locked_bench(folder):
        matrix = open_bench(Path(matrix_path), folder)
        record_start(folder, sys.argv if command is None else command, expand(matrix))
        with lines_to(report) as say:

            def run(cells: Sequence[Cell]) -> Outcome:
                return execute(cells, folder, run_limits, rerun=rerun, retry_failed=retry_failed, report=say)

            return _run(matrix, folder, run, say, rerun=rerun)


def with_limits(limits: RunLimits, changes: Mapping[str, object]) -> RunLimits:
    """The limits with some options replaced.

    Raises:
        ConfigError: an option does not belong to the executor, or is out of range.
    """
    from fdiv_gym.registry.options import build_options

    return build_options(RunLimits, limits.model_dump(exclude_unset=True) | dict(changes), "run")


def _run(matrix: Matrix, folder: Path, run: Callable[[Sequence[Cell]], Outcome], say: Say, *, rerun: bool) -> Bench:
    if matrix.tuning is not None:
        trials = matrix.tuning.trials_of_each
        say(f"tuning: {trials} trials for each of {len(matrix.objectives)} objectives")
    tuned = tune(matrix, folder, run)
    if tuned.chosen is None:
        return state_of(matrix, folder, None, interrupted=True)
    for label, options in tuned.chosen.items():
        say(f"chosen for {label}: {', '.join(f'{key} = {value}' for key, value in options.items())}")
    table = expand(matrix, chosen=tuned.chosen)
    controls = control_cells(matrix, tuned.chosen)
    say(f"table: {len(table)} cells; controls: {len(controls)} cells")
    outcome = run([*table, *controls])
    if outcome.interrupted:
        return state_of(matrix, folder, tuned.chosen, interrupted=True)
    switches = matrix.controls
    if switches.untrained:
        measure_untrained(matrix, table, folder, rerun=rerun, say=say)
    if switches.reads_after:
        measure_after(table, folder, say)
    finish(folder, say)
    return state_of(matrix, folder, tuned.chosen)


def finish(folder: Path, say: Say) -> None:
    """Write the bundle: evidence, tables and report, from the files of a folder.

    Raises:
        BenchError: what the cells have left contradicts the matrix or itself.
        MissingExtraError: matplotlib or jinja2 is not installed.
        TrainerError: a file cannot be written.
    """
    say("writing tables, report and bundle")
    bundle = write_bundle(folder)
    say(f"report: {bundle / REPORT / PAGE}")
    say(f"SHA-256 of the bundle's manifest: {Bundle(bundle).digest()}; check it with: fdiv-gym verify {bundle}")


def plan_bench(matrix_path: str | Path, folder: str | Path) -> Bench:
    """What ``run_bench`` would run, and what of it is done; nothing is written or started.

    Raises:
        ConfigError: the matrix or a cell of it is wrong, or the folder belongs to another matrix.
        BenchError: an environment has no tasks to tune on.
        PluginError: a plugin is missing or broken.
    """
    folder = Path(folder)
    matrix = matrix_for(Path(matrix_path), folder)
    check_matrix(matrix)
    return state_of(matrix, folder, choice_in(folder))


def state_of(matrix: Matrix, folder: Path, chosen: Mapping[str, Chosen] | None, *, interrupted: bool = False) -> Bench:
    """What the folder holds of the cells of a matrix; without ``chosen``, by their ids alone."""
    cells: dict[Kind, list[Cell]] = {"tuning": [], "table": expand(matrix, chosen=chosen), "control": []}
    if matrix.tuning is not None:  # the ids do not depend on the options that a trial tries
        for trial in range(matrix.tuning.trials_of_each):
            suffix = f"trial{trial}"
            cells["tuning"] += expand(matrix.narrowed(), kind="tuning", seeds=matrix.tuning.seeds, suffix=suffix)
    cells["control"] = control_cells(matrix, chosen or {})
    counts, failed = {}, []
    for kind, own in cells.items():
        exact = kind != "tuning" and (chosen is not None or matrix.tuning is None)
        found = {cell.id: _status(folder, cell, exact=exact) for cell in own}
        if own:
            counts[str(kind)] = Count(len(own), *(list(found.values()).count(s) for s in ("done", "failed")))
        failed += [name for name, status in found.items() if status == "failed"]
    if matrix.controls.untrained:
        names = untrained_folders(matrix).values()
        counts["untrained"] = Count(len(names), sum((folder / name / UNTRAINED_FILE).is_file() for name in names))
    trials = matrix.tuning.trials_of_each if matrix.tuning else 0
    ids = {str(kind): tuple(cell.id for cell in own) for kind, own in cells.items() if own}
    return Bench(folder, counts, trials, tuple(failed), interrupted, ids)


def _status(folder: Path, cell: Cell, *, exact: bool) -> str:
    try:
        record = read_record(folder / cell.folder)
    except FdivGymError:
        return ""
    return "" if record is None or (exact and record.key != cell.key) else record.status
