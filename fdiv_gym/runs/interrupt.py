"""The stop signals in a trainer: the first ends the run after the current step, the second at once."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from fdiv_gym.runs.signals import REPEATED_S, leave_closed_output, stop_signals

STOPPING = "stopping after this step (Ctrl-C again: stop now and lose the steps since the last checkpoint)"


class Interrupt:
    """Inside ``with``, the first stop signal sets ``requested``; a later one raises KeyboardInterrupt.

    A signal within ``REPEATED_S`` of the first is the same request, except Ctrl-C in a run of one process. Outside the
    main thread nothing is handled.

    Args:
        report: prints one line for the user.
        processes: of the run; a launcher of several repeats Ctrl-C too.
    """

    def __init__(self, report: Callable[[str], None], processes: int = 1) -> None:
        self.requested = False
        self._report = report
        self._processes = processes
        self._previous: dict[int, Any] = {}
        self._first = 0.0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        leave_closed_output()
        if self.requested:
            insists = number == signal.SIGINT and self._processes == 1
            if not insists and time.monotonic() - self._first < REPEATED_S:
                return
            raise KeyboardInterrupt
        self.requested, self._first = True, time.monotonic()
        # The output may be closed at this moment, or the signal came while a line was written to it.
        with contextlib.suppress(OSError, RuntimeError):
            self._report(STOPPING)
