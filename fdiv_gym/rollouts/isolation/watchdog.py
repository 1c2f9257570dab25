"""Watchdog: ends the run if a plugin that scores in this process does not return.

A thread cannot do this: a regular expression may hold the interpreter for hours. The watcher is a process, one for
this process and all its batches.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fdiv_gym.registry.messages import printable

log = logging.getLogger(__name__)


class Watchdog:
    """The watcher process of this process; started at the first batch, and again in a forked process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def watch(self, label: str, count: int, limit_s: float) -> Iterator[None]:
        """Inside ``with``, the run ends with status 137 (SIGKILL) after ``limit_s``, naming the plugin.

        Args:
            label: the plugin.
            count: responses of the batch.
            limit_s: seconds.
        """
        number = next(self._numbers)
        text = (
            f"{label}: scoring {count} responses has taken more than {limit_s:g} s (env.score_deadline_s "
            "and a share for each response)"
        )
        self._send(f"{number}\t{limit_s}\t{printable(text)}")
        try:
            with _exit_is_no_success(label):
                yield
        finally:
            self._send(str(number))

    def close(self) -> None:
        """End the watcher."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None and self._owner == os.getpid():
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.wait()

    def _send(self, line: str) -> None:
        with self._lock:
            if self._process is None or self._owner != os.getpid():
                self._start()
            try:
                os.write(self._input(), f"{line}\n".encode("utf-8", "replace"))
            except OSError as error:
                log.warning("no watchdog over scoring: %s", error)

    def _input(self) -> int:
        if self._process is None or self._process.stdin is None:
            raise OSError("its process did not start")
        return self._process.stdin.fileno()

    def _start(self) -> None:
        self._owner = os.getpid()
        program = str(Path(__file__).with_name("watcher.py"))
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", program, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )


@contextlib.contextmanager
def _exit_is_no_success(label: str) -> Iterator[None]:
    """Inside ``with``, ``os._exit(0)`` of this process says who called it, and its status is 1.

    Several threads may be inside; the last one to leave restores the function.
    """
    owner = os.getpid()

    def named(status: int) -> None:
        if os.getpid() == owner:  # a forked process of the plugin ends by this function rightly
            names = ", ".join(dict.fromkeys(_scoring))
            os.write(2, printable(f"{names} called os._exit({status}) while scoring: the run ends here\n").encode())
            status = status or 1
        _LEAVE(status)

    with _patching:
        _scoring.append(label)
        os._exit = named  # type: ignore[assignment]
    try:
        yield
    finally:
        with _patching:
            _scoring.remove(label)
            if not _scoring:
                os._exit = _LEAVE


_LEAVE: Any = os._exit
_scoring: list[str] = []
"""The plugins that score in this process now."""
_patching = threading.Lock()


watchdog = Watchdog()
atexit.register(watchdog.close)
