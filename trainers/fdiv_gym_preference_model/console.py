"""The signals that end a run after its step."""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from fdiv_gym.runs import Screen, leave_closed_output, stop_signals


class Interrupt:
    """Inside ``with``, the first stop signal sets ``requested``; the second raises KeyboardInterrupt."""

    def __init__(self, lines: Screen) -> None:
        self.requested = False
        self._lines = lines
        self._previous: dict[int, Any] = {}

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
            raise KeyboardInterrupt
        self.requested = True
        with contextlib.suppress(OSError, RuntimeError):  # the signal may come while a line is written
            self._lines.message("stopping after this step")
