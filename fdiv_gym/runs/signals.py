"""The signals that ask a command to stop: Ctrl-C, SIGTERM, and SIGHUP when its terminal is closed.

One request may arrive as several signals: ``timeout`` sends SIGTERM to its child and then to the group of processes,
and when a terminal is closed both the system and the shell send SIGHUP. What follows within ``REPEATED_S`` is the same
request, except Ctrl-C in a run of one process, where the user may insist.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

REPEATED_S = 2.0
"""Seconds within which further signals are the same request."""


def stop_signals() -> list[signal.Signals]:
    """The signals to handle; SIGHUP is left out where it does not exist, or is ignored as ``nohup`` asks."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hangup]


@contextlib.contextmanager
def stopped_as_by_ctrl_c() -> Iterator[None]:
    """Inside ``with``, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    begun = -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal begun
        leave_closed_output()
        if time.monotonic() - begun > REPEATED_S:
            begun = time.monotonic()
            raise KeyboardInterrupt

    numbers = [number for number in stop_signals() if number is not signal.SIGINT]
    previous: dict[int, Any] = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def leave_closed_output() -> None:
    """Send the output nowhere if it went to a terminal or a pipe that was closed: writing there would be an error."""
    if not hasattr(select, "poll"):
        return
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            if not _can_be_closed(stream):
                continue
            poll = select.poll()
            poll.register(stream, 0)
            if any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0)):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream)
                os.close(nowhere)


def _can_be_closed(stream: int) -> bool:
    # A terminal that was closed is a character device still, and no longer a tty.
    import stat

    mode = os.fstat(stream).st_mode
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)
