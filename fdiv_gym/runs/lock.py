"""The lock of a folder: one process at a time writes into it, and the lock ends with that process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from fdiv_gym.errors import ConfigError, TrainerError
from fdiv_gym.files import open_for_reading, replacing
from fdiv_gym.runs.folder import WRITER, RunFolder

_held: dict[int, int] = {}  # open descriptor -> the process that opened it


@contextlib.contextmanager
def locked(folder: Path, what: str, advice: str) -> Iterator[int | None]:
    """Create the folder if it is missing, and lock it; a folder created here that stays empty is removed again.

    The lock is one of the operating system on the folder itself, so it ends when the process is killed, and readers
    need none. On Windows, which has no such lock, nothing is locked.

    Args:
        folder: the folder to write into.
        what: its kind, for the error message: ``the run folder``.
        advice: the end of the error message, e.g. ``choose another --output``.

    Returns:
        The descriptor that holds the lock, None on Windows. A program that is started with it (``pass_fds``) holds the
        lock too, until both have ended.

    Raises:
        ConfigError: another process has locked it; the message names the process.
        TrainerError: it cannot be created or locked.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        held = _lock(folder, what, advice)
        try:
            yield held
        finally:
            _release(folder, held)
    finally:
        for path in created:
            with contextlib.suppress(OSError):  # not empty, or removed by the block
                path.rmdir()


def _lock(folder: Path, what: str, advice: str) -> int | None:
    try:
        import fcntl
    except ImportError:  # Windows
        _create(folder, what)
        return None
    while True:
        _create(folder, what)
        with RunFolder(folder).writing(what):
            held = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(folder, held):
                break
        except BlockingIOError:
            os.close(held)
            raise ConfigError(f"{_writer(folder)} is writing into {folder}: wait until it ends, or {advice}") from None
        except OSError as error:  # a file system without locks
            os.close(held)
            raise TrainerError(f"cannot lock {what} {folder}: {error.strerror}; {advice}") from None
        except BaseException:
            os.close(held)
            raise
        os.close(held)  # the process that held the lock removed the folder before this one had it
    _held[held] = os.getpid()
    # A full disk is reported by whoever writes next.
    with contextlib.suppress(OSError), replacing(folder / WRITER) as file:
        file.write(f"{os.getpid()}\n")
    return held


def _create(folder: Path, what: str) -> None:
    with RunFolder(folder).writing(what):
        folder.mkdir(parents=True, exist_ok=True)


def _is_same(folder: Path, held: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(held))
    except FileNotFoundError:
        return False


def _writer(folder: Path) -> str:
    """The process that holds the lock; it may have the lock and not yet have written its number."""
    for _ in range(20):
        with contextlib.suppress(OSError, ValueError), open_for_reading(folder / WRITER) as file:
            return f"process {int(file.read(20))}"
        time.sleep(0.01)
    return "another process"


def _release(folder: Path, held: int | None) -> None:
    if held is None or _held.get(held) != os.getpid():  # after a fork the descriptor is closed already
        return
    with contextlib.suppress(OSError):
        (folder / WRITER).unlink()
    del _held[held]
    os.close(held)


def _forget_in_child() -> None:
    # A forked child that outlives its parent, e.g. a worker, must not keep the parent's lock.
    for held in list(_held):
        with contextlib.suppress(OSError):
            os.close(held)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
