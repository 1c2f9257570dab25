"""Watchdog: ends the run if code of others that runs in this process does not return.

A thread cannot do this: a regular expression may hold the interpreter for hours. The watcher is a process, one for
this process and all its work.
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

from fdiv_gym.registry.messages import printable

log = logging.getLogger(__name__)


class Watchdog:
    """The watcher process of this process; started at the first use, and again in a forked process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def watch(self, label: str, work: str, limit_s: float) -> Iterator[None]:
        """Inside ``with``, the run ends with status 137 (SIGKILL) after ``limit_s``, naming whose code it was.

        Args:
            label: the plugin or the file that the code belongs to.
            work: what the code does, e.g. ``scoring 64 responses``.
            limit_s: seconds.
        """
        number = next(self._numbers)
        line = "\t".join(printable(text).replace("\t", " ") for text in (label, work))
        self._send(f"{number}\t{limit_s}\t{line}")
        try:
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
                log.warning("no watchdog over the code of others: %s", error)

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


watchdog = Watchdog()
atexit.register(watchdog.close)
