"""The local executor: runs cells as processes of this machine, and starts from what a folder already holds.

A driver that was killed is started again with the same cells. The processes that it left behind are waited for, because
they hold the locks of their cells.

A limit on memory is watched from outside, by the resident memory of a cell's processes (psutil, which accelerate
requires). RLIMIT_AS limits addresses instead: torch and CUDA reserve many gigabytes of them which they never touch.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.folder import ATTEMPTS, Outcome, Task, locked_bench, sort_cells
from fdiv_gym.bench.process import LOG, CellProcess
from fdiv_gym.bench.progress import Progress
from fdiv_gym.bench.record import write_record
from fdiv_gym.errors import ConfigError, FdivGymError
from fdiv_gym.runs.interrupt import Interrupt
from fdiv_gym.runs.lock import locked
from fdiv_gym.runs.screen import Shown, make_screen

POLL_S = 0.2
MEMORY_S = 1.0


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
    with lines_to(report) as say, locked_bench(Path(folder)):
        found = sort_cells(cells, Path(folder).resolve(), rerun=rerun, retry_failed=retry_failed, say=say)
        progress = Progress(len(cells), found.done, found.failed, found.seconds, processes, say)
        return _Driver(found.tasks, processes, cores // processes, memory_gb, progress, say).run()


@contextlib.contextmanager
def lines_to(report: Callable[[str], None] | None) -> Iterator[Callable[[str], None]]:
    """Where the lines of an executor go: to ``report``, else to the screen of runs."""
    if report is not None:
        yield report
        return
    screen = make_screen(Shown((), lambda metrics: ""))
    try:
        yield screen.message
    finally:
        screen.stop()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Driver:
    def __init__(
        self, tasks: Sequence[Task], processes: int, threads: int, memory_gb: float | None, progress: Progress,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._processes, self._threads, self._memory_gb = processes, threads, memory_gb
        self._progress, self._say, self._weighed = progress, say, 0.0
        self._pending = deque(tasks)
        self._waiting: list[Task] = []  # for processes that another driver left behind
        self._running: list[tuple[Task, CellProcess]] = []

    def run(self) -> Outcome:
        """Run what is to be run."""
        try:
            with Interrupt(self._stopping) as interrupt:
                while (self._pending or self._waiting or self._running) and not interrupt.requested:
                    self._start_some()
                    self._watch_memory()
                    self._collect(stopping=False)
                    time.sleep(POLL_S)
                for _, process in self._running:
                    process.ask_to_stop()
                while self._running:
                    self._collect(stopping=True)
                    time.sleep(POLL_S)
        finally:  # an error of the driver, or a second signal
            for _, process in self._running:
                process.kill()
            while not all([process.ended() for _, process in self._running]):  # noqa: C419 - asks each of them
                time.sleep(POLL_S)
        left = bool(self._pending or self._waiting)
        return Outcome(tuple(self._progress.done), tuple(self._progress.failed), left)

    def _stopping(self, text: str) -> None:
        self._say("stopping: the running cells save after their step (Ctrl-C again: end them at once)")

    def _start_some(self) -> None:
        """Start cells as long as there is room; one that is waited for takes room as a running one does."""
        self._waiting = [task for task in self._waiting if not self._start(task)]
        while self._pending and len(self._running) + len(self._waiting) < self._processes:
            task = self._pending.popleft()
            if not self._start(task):
                self._say(
                    f"{task.cell.id} is run by another process, which an earlier driver left behind: waiting for it"
                )
                self._waiting.append(task)

    def _start(self, task: Task) -> bool:
        """Start a cell, or record its run if that is finished; False if another process has locked its folder."""
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(locked(task.place, "the cell", "let it end"))
                record = task.take_over(self._say)
            except ConfigError:
                return False
            if record is not None:
                self._progress.add_done(task.cell.id, None, self._begun())
                return True
            task.attempts += 1
            process = CellProcess(task.cell, task.place, self._threads, held)
            process.at_end(stack.pop_all().close)
            self._running.append((task, process))
        return True

    def _collect(self, *, stopping: bool) -> None:
        """Record the cells that have ended, and start failed ones again at their turn."""
        for entry in [entry for entry in self._running if entry[1].ended()]:
            self._running.remove(entry)
            task, process = entry
            if process.status == 0:
                self._finished(task, process)
            elif stopping:
                self._say(f"{task.cell.id} stopped")
                self._pending.appendleft(task)
            else:
                task.fresh = process.cannot_be_resumed
                self._failed(task, process.why())

    def _finished(self, task: Task, process: CellProcess) -> None:
        try:
            record = task.result()
        except FdivGymError as error:
            self._failed(task, str(error))
        else:
            write_record(task.place, record)
            self._progress.add_done(task.cell.id, None if process.resumed else process.seconds, self._begun())

    def _failed(self, task: Task, why: str) -> None:
        line = " ".join(why.split())[-300:]
        if task.attempts < ATTEMPTS:
            self._pending.appendleft(task)
            self._progress.report(f"{task.cell.id} failed and is tried again: {line}", self._begun())
            return
        task.give_up(why)
        line = f"{task.cell.id} failed {task.attempts} times (see {task.place / LOG}): {line}"
        self._progress.add_failed(task.cell.id, line, self._begun())

    def _begun(self) -> list[float]:
        """Seconds since the start of each running cell."""
        return [process.seconds for _, process in self._running]

    def _watch_memory(self) -> None:
        if self._memory_gb is None or time.monotonic() - self._weighed < MEMORY_S:
            return
        self._weighed = time.monotonic()
        for _, process in self._running:
            process.refuse_memory_above(self._memory_gb)
