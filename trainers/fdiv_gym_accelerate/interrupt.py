"""Ctrl-C, SIGTERM and SIGHUP in a run of one or several processes, which end after the same step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from accelerate import Accelerator

from fdiv_gym.runs import Interrupt as InterruptOfOne


class Interrupt(InterruptOfOne):
    """The request of any process ends the run in all of them.

    Args:
        report: prints one line for the user.
        accelerator: the processes that must agree; None for one process.
    """

    def __init__(self, report: Callable[[str], None], accelerator: Accelerator | None = None) -> None:
        super().__init__(report, 1 if accelerator is None else accelerator.num_processes)
        self._accelerator = accelerator if accelerator is not None and accelerator.num_processes > 1 else None

    def agreed(self) -> bool:
        """Whether any process was asked to stop; every process calls this before each step and gets one answer."""
        if self._accelerator is None:
            return self.requested
        asked = torch.tensor([float(self.requested)], device=self._accelerator.device)
        return bool(self._accelerator.reduce(asked, reduction="sum").item() > 0)
