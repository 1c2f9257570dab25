"""The signals that ask a command to stop: Ctrl-C, SIGTERM, and SIGHUP when its terminal is closed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


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
    numbers = [number for number in stop_signals() if number is not signal.SIGINT]
    previous: dict[int, Any] = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    leave_closed_terminal()
    raise KeyboardInterrupt


def leave_closed_terminal() -> None:
    """Send the output nowhere if it went to a terminal that was closed: writing there would be an error."""
    if not hasattr(select, "poll"):
        return
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            if not os.isatty(stream) and not _was_terminal(stream):
                continue
            poll = select.poll()
            poll.register(stream, 0)
            if any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0)):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream)
                os.close(nowhere)


def _was_terminal(stream: int) -> bool:
    # A terminal that was closed is a character device still, and no longer a tty.
    import stat

    return stat.S_ISCHR(os.fstat(stream).st_mode)
