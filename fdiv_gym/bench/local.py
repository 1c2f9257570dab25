"""The local executor: runs cells as processes of this machine, and starts from what a folder already holds.

A cell is done when its ``record.json`` says so. Everything before that is in its run folder, so a driver that was
killed is started again with the same cells: finished runs are recorded, started ones resumed, and processes that the
killed driver left behind are waited for, because they hold the locks of their cells.

A limit on memory is watched from outside, by the resident memory of a cell's processes (psutil, which accelerate
requires). RLIMIT_AS limits addresses instead: torch and CUDA reserve many gigabytes of them which they never touch.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.process import LOG, RUN, RUN_FILE, CellProcess, is_finished
from fdiv_gym.bench.record import RECORD, Record, failed_record, read_record, record_of, refuse_other_run, write_record
from fdiv_gym.errors import ConfigError, FdivGymError
from fdiv_gym.runs.folder import CONFIG, RunFolder
from fdiv_gym.runs.interrupt import Interrupt
from fdiv_gym.runs.lock import locked
from fdiv_gym.runs.screen import Shown, make_screen

ATTEMPTS = 2
"""Starts of a cell before it counts as failed."""
POLL_S = 0.2
MEMORY_S = 1.0
REFUSED = 2
"""The exit status of ``fdiv-gym train`` for an error in one line."""


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
class _Task:
    """A cell that has no record yet."""

    cell: Cell
    place: Path
    fresh: bool = False  # remove what the folder holds before the next start
    attempts: int = 0
    problem: str = ""  # why a finished run could not be recorded


@dataclass
class _State:
    pending: deque[_Task] = field(default_factory=deque)
    waiting: list[_Task] = field(default_factory=list)  # for processes that another driver left behind
    running: list[tuple[_Task, CellProcess]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # of the cells that ended in this start


def run_cells(
    cells: Sequence[Cell],
    folder: str | Path,
    *,
    processes: int | None = None,
    cores: int | None = None,
    memory_gb: float | None = None,
    rerun: bool = False,
    retry_failed: bool = False,
    report: Callable[[str], None] | None = None,
) -> Outcome:
    """Run the cells that have no record in ``folder``; see the module.

    The first Ctrl-C or SIGTERM is passed on to the cells, which save and end; the second ends them at once.

    Args:
        cells: of one matrix, with different folders.
        folder: of the bench; one driver at a time writes into it.
        processes: cells at a time; by default one a core.
        cores: of this machine to use; by default all that this process may use. Each cell gets ``cores // processes``
            threads, which may change the last digits of its numbers.
        memory_gb: gigabytes of resident memory above which a cell is ended, as a failure; by default none.
        rerun: remove and run again the cells whose folder holds another configuration or other plugins.
        retry_failed: run the cells again whose record says that they failed.
        report: takes one line about each cell; by default the screen of runs.

    Raises:
        ConfigError: a limit is wrong, a folder holds another cell (and not ``rerun``), or another driver runs.
        TrainerError: a file cannot be read or written.
    """
    cores = cores or _cores()
    processes = processes or min(cores, max(len(cells), 1))
    if not 1 <= processes <= cores:
        raise ConfigError(f"processes = {processes}: it must be from 1 to the number of cores, {cores}")
    if memory_gb is not None and not memory_gb > 0:
        raise ConfigError(f"memory_gb = {memory_gb}: it must be above 0")
    if len({cell.folder for cell in cells}) < len(cells):
        raise ConfigError("two cells have the same folder: give those of different trials different suffixes")
    screen = None if report else make_screen(Shown((), lambda metrics: ""))
    try:
        say = report or screen.message  # type: ignore[union-attr]
        with locked(Path(folder), "the bench", "choose another folder"):
            driver = _Driver(Path(folder).resolve(), processes, cores // processes, memory_gb, say)
            driver.prepare(cells, rerun=rerun, retry_failed=retry_failed)
            return driver.run()
    finally:
        if screen is not None:
            screen.stop()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Driver:
    def __init__(
        self, folder: Path, processes: int, threads: int, memory_gb: float | None, say: Callable[[str], None]
    ) -> None:
        self._folder, self._processes, self._threads, self._memory_gb = folder, processes, threads, memory_gb
        self._say, self._state, self._weighed = say, _State(), 0.0

    # ---- what the folder holds ----------------------------------------------------------------------

    def prepare(self, cells: Sequence[Cell], *, rerun: bool, retry_failed: bool) -> None:
        """Sort the cells into those with a record and those to run.

        Raises:
            ConfigError: folders hold other cells, and not ``rerun``.
        """
        others: list[str] = []
        for cell in cells:
            place = self._folder / cell.folder
            task, record = _Task(cell, place), self._record(place)
            other = _other(cell, place, record)
            if other:
                others.append(f"{cell.id}: {other}")
                task.fresh = True
            if record is None or task.fresh or (record.status == "failed" and retry_failed):
                self._state.pending.append(task)
            else:
                (self._state.done if record.status == "done" else self._state.failed).append(cell.id)
        if others and not rerun:
            more = f" (and {len(others) - 3} more)" if len(others) > 3 else ""
            raise ConfigError(
                f"{self._folder} holds other runs than those of the matrix: {'; '.join(others[:3])}{more}. Choose "
                "another folder, or run these cells again with rerun = True, which removes what they have"
            )
        for other in others:
            self._say(f"run again: {other}")

    def _record(self, place: Path) -> Record | None:
        """The record of a cell; a damaged one is reported, and made again from the run."""
        try:
            return read_record(place)
        except FdivGymError as error:
            self._say(f"{error}; it is made again from the run")
            return None

    # ---- the loop ----------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Run what is to be run."""
        state = self._state
        total = len(state.pending) + len(state.done) + len(state.failed)
        self._say(f"{total} cells: {len(state.done)} done, {len(state.failed)} failed, {len(state.pending)} to run")
        try:
            with Interrupt(self._stopping) as interrupt:
                while (state.pending or state.waiting or state.running) and not interrupt.requested:
                    self._start_some()
                    self._watch_memory()
                    self._collect(stopping=False)
                    time.sleep(POLL_S)
                for _, process in state.running:
                    process.ask_to_stop()
                while state.running:
                    self._collect(stopping=True)
                    time.sleep(POLL_S)
        finally:  # an error of the driver, or a second signal
            for _, process in state.running:
                process.kill()
            while not all([process.ended() for _, process in state.running]):  # noqa: C419 - asks each of them
                time.sleep(POLL_S)
        return Outcome(tuple(state.done), tuple(state.failed), bool(state.pending or state.waiting))

    def _stopping(self, text: str) -> None:
        self._say("stopping: the running cells save after their step (Ctrl-C again: end them at once)")

    def _start_some(self) -> None:
        """Start cells as long as there is room; one that is waited for takes room as a running one does."""
        state = self._state
        state.waiting = [task for task in state.waiting if not self._start(task)]
        while state.pending and len(state.running) + len(state.waiting) < self._processes:
            task = state.pending.popleft()
            if not self._start(task):
                self._say(
                    f"{task.cell.id} is run by another process, which an earlier driver left behind: waiting for it"
                )
                state.waiting.append(task)

    def _start(self, task: _Task) -> bool:
        """Start a cell, or record its run if that is finished; False if another process has locked its folder."""
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(locked(task.place, "the cell", "let it end"))
                if self._take_over(task):
                    return True
            except ConfigError:
                return False
            task.attempts += 1
            process = CellProcess(task.cell, task.place, self._threads, held)
            process.at_end(stack.pop_all().close)
            self._state.running.append((task, process))
        return True

    def _take_over(self, task: _Task) -> bool:
        """Record the run that the folder holds if it is finished, and remove it if it is not the cell's.

        Raises:
            ConfigError: another process has locked the run, e.g. one that was started by hand.
        """
        run = task.place / RUN
        with locked(run, "the run folder", "let it end") if run.exists() else contextlib.nullcontext():
            if not task.fresh and is_finished(task.place):
                if self._record_run(task):
                    return True
                self._say(f"{task.cell.id} is run again: {task.problem}")
            if task.fresh:
                _remove(task.place)
                task.fresh = False
        return False

    def _collect(self, *, stopping: bool) -> None:
        """Record the cells that have ended, and start failed ones again at their turn."""
        state = self._state
        for entry in [entry for entry in state.running if entry[1].ended()]:
            state.running.remove(entry)
            task, process = entry
            if process.status == 0 and self._record_run(task, process.seconds):
                continue
            if process.status == 0:
                why = task.problem
            elif stopping:
                self._say(f"{task.cell.id} stopped")
                state.pending.appendleft(task)
                continue
            else:
                why = process.why()
                # A run that cannot be resumed is not tried a second time: it starts again.
                task.fresh = process.resumed and process.status == REFUSED
            self._failed(task, why)

    def _record_run(self, task: _Task, seconds: float | None = None) -> bool:
        """Record a finished run; False if it is none of the cell, and then it is run again from its start."""
        try:
            record = record_of(task.cell, task.place / RUN, task.attempts)
        except FdivGymError as error:
            task.problem, task.fresh = str(error), True
            return False
        write_record(task.place, record)
        self._state.done.append(task.cell.id)
        self._state.seconds += [] if seconds is None else [seconds]
        self._progress(f"{task.cell.id} is done")
        return True

    def _failed(self, task: _Task, why: str) -> None:
        line = " ".join(why.split())[-300:]
        if task.attempts < ATTEMPTS:
            self._state.pending.appendleft(task)
            self._progress(f"{task.cell.id} failed and is tried again: {line}")
            return
        write_record(task.place, failed_record(task.cell, task.attempts, why))
        self._state.failed.append(task.cell.id)
        self._progress(f"{task.cell.id} failed {task.attempts} times (see {task.place / LOG}): {line}")

    def _watch_memory(self) -> None:
        if self._memory_gb is None or time.monotonic() - self._weighed < MEMORY_S:
            return
        self._weighed = time.monotonic()
        for _, process in self._state.running:
            used = process.memory() / 1e9
            if used > self._memory_gb:
                process.kill(
                    f"it was ended: it used {used:.2f} GB of memory, more than memory_gb = {self._memory_gb:g}"
                )

    def _progress(self, what: str) -> None:
        state = self._state
        left = len(state.pending) + len(state.waiting) + len(state.running)
        counts = f"{len(state.done)} done, {len(state.failed)} failed, {len(state.running)} running"
        about = ""
        if left and state.seconds:
            mean = sum(state.seconds) / len(state.seconds)
            about = f", about {_duration(mean * math.ceil(left / self._processes))} left"
        self._say(f"{counts} of {left + len(state.done) + len(state.failed)}{about}: {what}")


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


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
