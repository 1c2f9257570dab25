"""The Ray task of one cell: it runs in a worker of any node, in the folder that all nodes share."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.folder import Task
from fdiv_gym.bench.local import MEMORY_S, POLL_S
from fdiv_gym.bench.process import RUN, CellProcess
from fdiv_gym.bench.ray_cluster import Resources
from fdiv_gym.bench.record import Record, read_record, write_record
from fdiv_gym.errors import BenchError, ConfigError, FdivGymError
from fdiv_gym.files import replacing
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.runs.lock import locked

VISIBLE = ".driver"
"""The file of the bench's folder by which a task knows that it sees the driver's folder."""
STARTS = ".starts"
"""The file of a cell's folder that counts its starts for one driver."""


class CellFailedError(BenchError):
    """A cell that Ray may try again."""


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
        task.attempts, task.fresh = starts_of(task.place, token, fresh)
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


def starts_of(place: Path, token: str, fresh: bool = False) -> tuple[int, bool]:
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
