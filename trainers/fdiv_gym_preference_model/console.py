"""Progress as lines of text, and the signals that end a run after its step."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any, Self

from fdiv_gym.registry import printable
from fdiv_gym.runs import leave_closed_output, stop_signals

EVERY_S = 5.0


class Lines:
    """Prints one line for a step at most every few seconds; nothing if ``FDIV_GYM_QUIET`` is set."""

    def __init__(self) -> None:
        self._quiet, self._last = bool(os.environ.get("FDIV_GYM_QUIET")), 0.0

    def message(self, text: str) -> None:
        """Print one line; a run whose output nobody reads any more goes on without it."""
        if self._quiet:
            return
        try:
            print(printable(text), flush=True)  # noqa: T201 - this is the screen
        except BrokenPipeError:
            leave_closed_output()
            with contextlib.suppress(OSError):
                print("the output was closed: the run goes on without it", file=sys.stderr)  # noqa: T201

    def warm_start(self, step: int, steps: int, loss: float) -> None:
        """Show one step of the warm start of the embedded model."""
        if self._due() or step == steps:
            self.message(f"warm start {step}/{steps}  loss {loss:.3f}")

    def step(self, step: int, steps: int, line: Mapping[str, Any]) -> None:
        """Show the metrics of a step."""
        if self._due() or step == steps:
            self.message(f"step {step}/{steps}  loss {line['loss']:.3f}  right {line['pairs/accuracy']:.0%}")

    def evaluation(self, step: int, line: Mapping[str, float]) -> None:
        """Show the metrics of an evaluation."""
        names = [name for name in line if name.startswith(("heldout/", "triples/"))]
        self.message(f"held-out, step {step}  " + "  ".join(f"{name} {line[name]:.3f}" for name in names))

    def _due(self) -> bool:
        due = time.monotonic() - self._last >= EVERY_S
        self._last = time.monotonic() if due else self._last
        return due


class Interrupt:
    """Inside ``with``, the first stop signal sets ``requested``; the second raises KeyboardInterrupt."""

    def __init__(self, lines: Lines) -> None:
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
