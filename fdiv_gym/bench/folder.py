"""What the folder of a bench holds, for every executor: cells with a record, cells to run, and runs of other cells.

A cell is done when its ``record.json`` says so. Everything before that is in its run folder, so an executor that was
killed is started again with the same cells: finished runs are recorded, started ones resumed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.process import LOG, RUN, RUN_FILE, is_finished
from fdiv_gym.bench.record import RECORD, Record, read_record, write_record
from fdiv_gym.bench.recording import failed_record, record_of, refuse_other_run
from fdiv_gym.errors import ConfigError, FdivGymError
from fdiv_gym.runs.folder import CONFIG, RunFolder
from fdiv_gym.runs.lock import locked

ATTEMPTS = 2
"""Starts of a cell before it counts as failed."""
_held: ContextVar[frozenset[tuple[Path, int]]] = ContextVar("_held", default=frozenset())
"""The locked folders and the process that has locked them: a process forked from it does not have the lock."""


@contextlib.contextmanager
def locked_bench(folder: Path) -> Iterator[None]:
    """Lock the folder of a bench against other drivers; see ``fdiv_gym.runs.lock``.

    A driver holds the lock from its start to its end. An executor that it calls finds it held, and one that is called
    alone takes it.

    Raises:
        ConfigError: another driver has locked it; the message names its process.
        TrainerError: it cannot be created or locked.
    """
    key = (folder.resolve(), os.getpid())
    if key in _held.get():
        yield
        return
    with locked(folder, "the bench", "choose another folder"):
        before = _held.set(_held.get() | {key})
        try:
            yield
        finally:
            _held.reset(before)


@dataclass(frozen=True)
class Outcome:
    """What became of the cells.

    Args:
        done: ids with a result, those of earlier starts included.
        failed: ids that failed.
        interrupted: whether a signal stopped the driver before the others had run.
    """

    done: tuple[str, ...]
    failed: tuple[str, ...]
    interrupted: bool


@dataclass
class Task:
    """A cell that has no record yet.

    Args:
        cell: what to run.
        place: its folder.
        fresh: remove what the folder holds before the next start.
        attempts: starts by this executor.
    """

    cell: Cell
    place: Path
    fresh: bool = False
    attempts: int = 0

    def result(self) -> Record:
        """The record of the finished run, which is not written yet.

        Raises:
            ConfigError: the run is not the cell's, or has no results; the next start is a fresh one.
            TrainerError: a file of it is missing or damaged; likewise.
        """
        try:
            return record_of(self.cell, self.place / RUN, self.attempts)
        except FdivGymError:
            self.fresh = True
            raise

    def take_over(self, say: Callable[[str], None]) -> Record | None:
        """Record the run that the folder holds if it is finished, and remove it if it is not the cell's.

        Raises:
            ConfigError: another process has locked the run, e.g. one that was started by hand.
            TrainerError: a file cannot be written or removed.
        """
        run = self.place / RUN
        with locked(run, "the run folder", "let it end") if run.exists() else contextlib.nullcontext():
            if not self.fresh and is_finished(self.place):
                try:
                    record = self.result()
                except FdivGymError as error:
                    say(f"{self.cell.id} is run again: {error}")
                else:
                    write_record(self.place, record)
                    return record
            if self.fresh:
                _remove(self.place)
                self.fresh = False
        return None

    def give_up(self, why: str) -> None:
        """Record that the cell failed; it may have failed before it had a folder."""
        with RunFolder(self.place).writing(RECORD):
            self.place.mkdir(parents=True, exist_ok=True)
        write_record(self.place, failed_record(self.cell, self.attempts, why))


@dataclass
class Sorted:
    """The cells by what the folder holds of them.

    Args:
        tasks: those without a record.
        done: ids of those with a result.
        failed: ids of those that failed.
        seconds: the clocks of the runs with a result.
    """

    tasks: list[Task] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def sort_cells(
    cells: Sequence[Cell], folder: Path, *, rerun: bool, retry_failed: bool, say: Callable[[str], None]
) -> Sorted:
    """Sort the cells into those with a record and those to run.

    Args:
        cells: of one matrix.
        folder: of the bench.
        rerun: run the cells again whose folder holds another cell.
        retry_failed: run the cells again whose record says that they failed.
        say: takes one line about each cell that is run again.

    Raises:
        ConfigError: two cells have the same folder, or folders hold other cells, and not ``rerun``.
    """
    if len({cell.folder for cell in cells}) < len(cells):
        raise ConfigError("two cells have the same folder: give those of different trials different suffixes")
    found, others = Sorted(), []
    for cell in cells:
        task = Task(cell, folder / cell.folder)
        record = _record(task.place, say)
        other = _other(cell, task.place, record)
        if other:
            others.append(f"{cell.id}: {other}")
            task.fresh = True
        if record is None or task.fresh or (record.status == "failed" and retry_failed):
            found.tasks.append(task)
        else:
            (found.done if record.status == "done" else found.failed).append(cell.id)
            found.seconds += [] if record.seconds is None else [record.seconds]
    if others and not rerun:
        more = f" (and {len(others) - 3} more)" if len(others) > 3 else ""
        raise ConfigError(
            f"{folder} holds other runs than those of the matrix: {'; '.join(others[:3])}{more}. Choose another "
            "folder, or run these cells again with rerun = True, which removes what they have"
        )
    for other in others:
        say(f"run again: {other}")
    return found


def _record(place: Path, say: Callable[[str], None]) -> Record | None:
    """The record of a cell; a damaged one is reported, and made again from the run."""
    try:
        return read_record(place)
    except FdivGymError as error:
        say(f"{error}; it is made again from the run")
        return None


def _other(cell: Cell, place: Path, record: Record | None) -> str:
    """Why what a folder holds is not of this cell; empty if it is, or if there is nothing."""
    if record is not None:
        return (
            "" if record.key == cell.key else "its record is of another configuration, or of other code of the plugins"
        )
    if not (place / RUN / CONFIG).is_file():
        return ""
    try:
        refuse_other_run(cell, RunFolder(place / RUN))
    except FdivGymError as error:
        return str(error)
    return ""


def _remove(place: Path) -> None:
    """Remove what a cell's folder holds, and nothing else."""
    with RunFolder(place).writing("the cell"):
        if (place / RUN).exists():
            shutil.rmtree(place / RUN)
        for name in (RECORD, RUN_FILE, LOG):
            (place / name).unlink(missing_ok=True)
