"""The Ray executor: one Ray task a cell, on any number of machines; placement and retries are Ray's.

The folder of the bench must be one that every node sees under the same path, and fdiv-gym and the plugins must be
installed on every node in the same versions. A task runs its cell in the cell's folder, records it there, and returns
the record. It skips a cell that is done and resumes one that was started, so that Ray may run it again after a worker
has died, and a driver that was killed is started again with the same cells.

A run ends with the Ray worker that started it, so that what Ray holds for free is free: see ``tied.py``. A run
that another process still has, e.g. one that a killed local executor left behind, is waited for.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.folder import ATTEMPTS, Outcome, Task, locked_bench, sort_cells
from fdiv_gym.bench.local import lines_to
from fdiv_gym.bench.process import LOG
from fdiv_gym.bench.progress import Progress
from fdiv_gym.bench.ray_cluster import Resources, connected, import_ray, refuse_too_large
from fdiv_gym.bench.ray_task import VISIBLE, CellFailedError, run_cell, starts_of
from fdiv_gym.errors import FdivGymError
from fdiv_gym.files import replacing
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.runs.interrupt import Interrupt

LOOK_S = 10.0
PATIENCE_S = 300.0
"""Seconds without a node that is large enough, after which the driver gives up."""


def run_on_ray(
    cells: Sequence[Cell],
    folder: str | Path,
    *,
    address: str | None = None,
    resources: Resources | None = None,
    rerun: bool = False,
    retry_failed: bool = False,
    report: Callable[[str], None] | None = None,
) -> Outcome:
    """Run the cells that have no record in ``folder``, each as a task of a Ray cluster; see the module.

    The first Ctrl-C or SIGTERM cancels the tasks: those that run let their runs save and end. The second ends them at
    once.

    Args:
        cells: of one matrix, with different folders.
        folder: of the bench, seen by every node; one driver at a time writes into it.
        address: of the cluster, ``host:port``, or ``auto`` for the one that runs on this machine; by default one of
            this machine is started, and ended at the end. A Ray that this process is connected to already is used.
        resources: of each cell; by default one core.
        rerun: remove and run again the cells whose folder holds another configuration or other plugins.
        retry_failed: run the cells again whose record says that they failed.
        report: takes one line about each cell; by default the screen of runs.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: the cluster cannot be reached, none of its nodes is large enough for a cell (at the start, or for
            five minutes later), a node does not see the folder, the folder holds another cell (and not ``rerun``), or
            another driver runs.
        TrainerError: a file cannot be read or written.
    """
    ray, resources = import_ray(), resources or Resources()
    with lines_to(report) as say, locked_bench(Path(folder)):
        folder = Path(folder).resolve()
        found = sort_cells(cells, folder, rerun=rerun, retry_failed=retry_failed, say=say)
        with connected(ray, address) if found.tasks else contextlib.nullcontext():
            slots = refuse_too_large(ray, resources) if found.tasks else 0
            progress = Progress(len(cells), found.done, found.failed, found.seconds, slots, say)
            if not found.tasks:
                return Outcome(tuple(found.done), tuple(found.failed), False)
            with _visible(folder) as token:
                return _Driver(ray, folder, token, resources, progress, say).run(found.tasks)


@contextlib.contextmanager
def _visible(folder: Path) -> Iterator[str]:
    """A token of this driver, in a file of the folder."""
    token = secrets.token_hex(16)
    with RunFolder(folder).writing(VISIBLE), replacing(folder / VISIBLE) as file:
        file.write(token)
    try:
        yield token
    finally:
        (folder / VISIBLE).unlink(missing_ok=True)


class _Driver:
    def __init__(
        self, ray: Any, folder: Path, token: str, resources: Resources, progress: Progress, say: Callable[[str], None]
    ) -> None:
        self._ray, self._folder, self._token, self._resources = ray, folder, token, resources
        self._progress, self._say = progress, say
        self._tasks: dict[Any, Task] = {}
        self._stopped = False
        self._looked = self._fitted = time.monotonic()

    def run(self, tasks: Sequence[Task]) -> Outcome:
        """Submit the tasks, and collect what Ray returns."""
        try:
            with Interrupt(self._stopping) as interrupt:
                for task in tasks:
                    self._tasks[self._submit(task)] = task
                while self._tasks and not interrupt.requested:
                    self._collect()
                    self._refuse_endless_wait()
                self._stopped = interrupt.requested
                for ref in self._tasks if self._stopped else ():
                    self._ray.cancel(ref)
                while self._tasks:
                    self._collect()
        finally:  # an error of the driver, or a second signal
            for ref in self._tasks:
                with contextlib.suppress(Exception):
                    self._ray.cancel(ref, force=True)
        total = len(self._progress.done) + len(self._progress.failed)
        return Outcome(tuple(self._progress.done), tuple(self._progress.failed), total < self._progress.total)

    def _submit(self, task: Task) -> Any:
        amounts = self._resources.amounts
        options: dict[str, Any] = {"memory": int(amounts["memory"])} if "memory" in amounts else {}
        remote = self._ray.remote(run_cell).options(
            name=task.cell.id, num_cpus=self._resources.cpus, num_gpus=self._resources.gpus,
            max_retries=ATTEMPTS - 1, retry_exceptions=[CellFailedError], **options,
        )  # fmt: skip
        return remote.remote(task.cell, str(self._folder), self._token, self._resources, task.fresh)

    def _stopping(self, text: str) -> None:
        self._say("stopping: the running cells save after their step (Ctrl-C again: end them at once)")

    def _collect(self) -> None:
        """Wait a second for the next task, and take over what it has returned."""
        ended, _ = self._ray.wait(list(self._tasks), timeout=1.0)
        for ref in ended:
            task = self._tasks.pop(ref)
            try:
                _, seconds = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                self._failed(task, error)
            else:
                self._progress.add_done(task.cell.id, seconds)

    def _failed(self, task: Task, error: Exception) -> None:
        cause = getattr(error, "cause", None)
        if self._stopped or isinstance(error, self._ray.exceptions.TaskCancelledError):
            self._say(f"{task.cell.id} stopped")
            return
        if isinstance(cause, FdivGymError) and not isinstance(cause, CellFailedError):
            raise cause  # it is not the cell's, e.g. a folder that a node does not see
        why = str(cause or error)
        task.attempts = starts_of(task.place, self._token)[0]
        task.give_up(why)
        line = " ".join(why.split())[-300:]
        self._progress.add_failed(
            task.cell.id, f"{task.cell.id} failed after {task.attempts} starts (see {task.place / LOG}): {line}"
        )

    def _refuse_endless_wait(self) -> None:
        """Raise if no node that is large enough has been there for long: Ray would wait for one for ever."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        if self._resources.at_a_time(self._ray.nodes()):
            self._fitted = now
        elif now - self._fitted > PATIENCE_S:
            refuse_too_large(self._ray, self._resources)
