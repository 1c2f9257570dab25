"""Ctrl-C, SIGTERM and SIGHUP: the first ends the run after the current step, the second at once."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from accelerate import Accelerator

from fdiv_gym.runs import REPEATED_S, leave_closed_output, stop_signals

STOPPING = "stopping after this step (Ctrl-C again: stop now and lose the steps since the last checkpoint)"


class Interrupt:
    """Inside ``with``, the signals set ``requested`` and do not interrupt a step.

    Args:
        report: prints one line for the user.
        accelerator: the processes that must agree; None for one process.
    """

    def __init__(self, report: Callable[[str], None], accelerator: Accelerator | None = None) -> None:
        self.requested = False
        self._report = report
        self._accelerator = accelerator if accelerator is not None and accelerator.num_processes > 1 else None
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

    def agreed(self) -> bool:
        """Whether any process was asked to stop; every process calls this before each step and gets one answer."""
        if self._accelerator is None:
            return self.requested
        asked = torch.tensor([float(self.requested)], device=self._accelerator.device)
        return bool(self._accelerator.reduce(asked, reduction="sum").item() > 0)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        leave_closed_output()
        if self.requested:
            insists = number == signal.SIGINT and self._accelerator is None  # a launcher repeats Ctrl-C as well
            if not insists and time.monotonic() - self._first < REPEATED_S:
                return
            raise KeyboardInterrupt
        self.requested, self._first = True, time.monotonic()
        # The output may be closed at this moment, or the signal came while a line was written to it.
        with contextlib.suppress(OSError, RuntimeError):
            self._report(STOPPING)
