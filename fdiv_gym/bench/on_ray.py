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
import json
import math
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.folder import ATTEMPTS, Outcome, Task, sort_cells
from fdiv_gym.bench.local import MEMORY_S, POLL_S, lines_to
from fdiv_gym.bench.process import LOG, RUN, CellProcess
from fdiv_gym.bench.progress import Progress
from fdiv_gym.bench.record import Record, read_record, write_record
from fdiv_gym.errors import BenchError, ConfigError, FdivGymError, MissingExtraError
from fdiv_gym.files import replacing
from fdiv_gym.registry.messages import shorten
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.runs.interrupt import Interrupt
from fdiv_gym.runs.lock import locked

VISIBLE = ".driver"
"""The file of the bench's folder by which a task knows that it sees the driver's folder."""
STARTS = ".starts"
"""The file of a cell's folder that counts its starts for one driver."""
CONNECT_S = 10.0
LOOK_S = 10.0
PATIENCE_S = 300.0
"""Seconds without a node that is large enough, after which the driver gives up."""


class CellFailedError(BenchError):
    """A cell that Ray may try again."""


@dataclass(frozen=True)
class Resources:
    """What a cell takes of a Ray cluster.

    Args:
        cpus: cores.
        gpus: GPUs, or a part of one.
        memory_gb: gigabytes of memory; a cell whose processes hold more is ended, as a failure.

    Raises:
        ConfigError: one of them is wrong.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cpus) and self.cpus > 0):
            raise ConfigError(f"cpus = {self.cpus}: it must be above 0")
        if not (math.isfinite(self.gpus) and self.gpus >= 0) or (self.gpus > 1 and self.gpus % 1):
            raise ConfigError(f"gpus = {self.gpus}: it must be a part of one GPU, or a whole number of them")
        if self.memory_gb is not None and not (math.isfinite(self.memory_gb) and self.memory_gb > 0):
            raise ConfigError(f"memory_gb = {self.memory_gb}: it must be above 0")

    @property
    def amounts(self) -> dict[str, float]:
        """By Ray's names of them; memory in bytes."""
        memory = None if self.memory_gb is None else float(int(self.memory_gb * 1e9))
        return {name: each for name, each in (("CPU", self.cpus), ("GPU", self.gpus), ("memory", memory)) if each}

    def at_a_time(self, nodes: Sequence[dict[str, Any]]) -> int:
        """Cells that these nodes (``ray.nodes()``) can run at the same time."""
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        # 1e-9: 1 / 0.1 is ten.
        return sum(min(int(node.get(name, 0) / each + 1e-9) for name, each in self.amounts.items()) for node in alive)


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
    ray, resources = _ray(), resources or Resources()
    with lines_to(report) as say, locked(Path(folder), "the bench", "choose another folder"):
        folder = Path(folder).resolve()
        found = sort_cells(cells, folder, rerun=rerun, retry_failed=retry_failed, say=say)
        with _connected(ray, address) if found.tasks else contextlib.nullcontext():
            slots = _refuse_too_large(ray, resources) if found.tasks else 0
            progress = Progress(len(cells), found.done, found.failed, found.seconds, slots, say)
            if not found.tasks:
                return Outcome(tuple(found.done), tuple(found.failed), False)
            with _visible(folder) as token:
                return _Driver(ray, folder, token, resources, progress, say).run(found.tasks)


def _ray() -> Any:
    # Read when it is imported: nothing is sent to Ray's makers, unless the user says so.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtraError("executor = \"ray\" needs Ray: pip install 'fdiv-gym[ray]'") from None
    return ray


def _refuse_unreachable(address: str) -> None:
    """Raise if nothing listens at ``host:port``: Ray itself tries for many minutes, and then ends the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"run.address = {shorten(address)}: it must be host:port, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"there is no Ray cluster at {shorten(address)}: {error}") from None


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to the cluster, or start one of this machine."""
    if ray.is_initialized():
        yield
        return
    if address not in (None, "auto"):
        _refuse_unreachable(address)
    own = {} if address else {"include_dashboard": False}
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **own)
    except Exception as error:  # of many classes: ConnectionError, RuntimeError, ValueError, ...
        what = f"connect to the Ray cluster at {address}" if address else "start Ray on this machine"
        raise ConfigError(f"cannot {what}: {error}") from None
    try:
        if main and handler is not None:  # Ray has set its own
            signal.signal(signal.SIGTERM, handler)
        yield
    finally:
        ray.shutdown()


def _refuse_too_large(ray: Any, resources: Resources) -> int:
    """The number of cells that the cluster can run at a time.

    Raises:
        ConfigError: it is 0, so that Ray would let them wait for ever.
    """
    nodes = ray.nodes()
    slots = resources.at_a_time(nodes)
    if slots:
        return slots
    needed = ", ".join(f"{name} = {amount:g}" for name, amount in resources.amounts.items())
    there = [
        ", ".join(f"{name} = {node['Resources'].get(name, 0):g}" for name in resources.amounts)
        for node in nodes
        if node["Alive"]
    ]
    raise ConfigError(
        f"no node of the Ray cluster can ever run a cell, which takes {needed}: its {len(there)} nodes have "
        f"{'; '.join(sorted(set(there))[:3]) or 'nothing'}. Ask for less with run.cpus, run.gpus or run.memory_gb, or "
        "add a larger node"
    )


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
        task.attempts = _starts(task.place, self._token)[0]
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
            _refuse_too_large(self._ray, self._resources)


# ---- in a Ray worker --------------------------------------------------------------------------------


def run_cell(cell: Cell, folder: str, token: str, resources: Resources, fresh: bool) -> tuple[Record, float | None]:
    """The task: run a cell in its folder, unless it is done.

    Args:
        cell: what to run.
        folder: of the bench.
        token: of the driver.
        resources: of the cell.
        fresh: at its first start by this driver, remove what its folder holds.

    Returns:
        Its record, and the seconds that it took; None if it was not run from its start.

    Raises:
        CellFailedError: it failed.
        ConfigError: the folder is not the driver's.
        TrainerError: a file cannot be read or written.
    """
    _refuse_other_folder(Path(folder), token)
    task = Task(cell, Path(folder) / cell.folder)
    with _locked(task.place) as held:
        task.attempts, task.fresh = _starts(task.place, token, fresh)
        record = None if task.fresh else _done(task)
        record = record or task.take_over(print)
        if record is not None:
            return record, None
        task.attempts += 1
        _count(task, token)
        process = CellProcess(cell, task.place, max(1, int(resources.cpus)), held, tied=True)
        _wait(process, resources.memory_gb)
        if process.status != 0:
            task.fresh = process.cannot_be_resumed
            _count(task, token)
            raise CellFailedError(process.why())
        try:
            record = task.result()
        except FdivGymError as error:
            _count(task, token)
            raise CellFailedError(str(error)) from None
        write_record(task.place, record)
        (task.place / STARTS).unlink(missing_ok=True)
        return record, None if process.resumed else process.seconds


def _refuse_other_folder(folder: Path, token: str) -> None:
    try:
        found = (folder / VISIBLE).read_text()
    except OSError:
        found = ""
    if found != token:
        raise ConfigError(
            f"node {os.uname().nodename} does not see the folder {folder} of the driver: choose one on a file system "
            "that all nodes share, under the same path"
        )


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[int | None]:
    """The lock of a cell's folder; a run that another process has there is waited for."""
    while True:
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(locked(place, "the cell", "let it end"))
                if (place / RUN).exists():  # one that was started by hand has locked the run only
                    with locked(place / RUN, "the run folder", "let it end"):
                        pass
            except ConfigError:
                pass
            else:
                yield held
                return
        time.sleep(POLL_S)


def _done(task: Task) -> Record | None:
    """The record that an earlier start of this task has written."""
    try:
        record = read_record(task.place)
    except FdivGymError:  # it is damaged
        return None
    return record if record is not None and (record.status, record.key) == ("done", task.cell.key) else None


def _starts(place: Path, token: str, fresh: bool = False) -> tuple[int, bool]:
    """How often this driver's tasks have started a cell, and whether its next start is a fresh one."""
    try:
        found = json.loads((place / STARTS).read_text())
        if found["driver"] == token:
            return int(found["starts"]), bool(found["fresh"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return 0, fresh


def _count(task: Task, token: str) -> None:
    with RunFolder(task.place).writing(STARTS), replacing(task.place / STARTS) as file:
        json.dump({"driver": token, "starts": task.attempts, "fresh": task.fresh}, file)


def _wait(process: CellProcess, memory_gb: float | None) -> None:
    """Wait until the run has ended; a task that is cancelled lets it save."""
    weighed = 0.0
    try:
        while not process.ended():
            if memory_gb is not None and time.monotonic() - weighed >= MEMORY_S:
                weighed = time.monotonic()
                process.refuse_memory_above(memory_gb)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        process.ask_to_stop()
        while not process.ended():
            time.sleep(POLL_S)
        raise
    finally:
        process.kill(process.killed_for)
        while not process.ended():
            time.sleep(POLL_S)
