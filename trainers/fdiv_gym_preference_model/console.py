"""Progress as lines of text."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from fdiv_gym.registry import printable
from fdiv_gym.runs import leave_closed_output

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
