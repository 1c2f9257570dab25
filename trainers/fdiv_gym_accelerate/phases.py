"""Seconds and memory of the phases of a step, and torch traces of chosen steps."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch

import fdiv_gym as fg

Phase = Literal["sampling", "scoring", "update", "sync"]
TRACES = "profile"
"""Folder of the traces in the run folder."""


class Phases:
    """Measures the phases of one process's steps; a phase ends where the next one begins.

    Args:
        device: that the policy is on; its work is finished before a clock is read.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._line: dict[str, float] = {}
        self._current: tuple[Phase, float, contextlib.ExitStack] | None = None

    def enter(self, phase: Phase) -> None:
        """End the current phase, if there is one, and begin another."""
        self.leave()
        record = contextlib.ExitStack()
        record.enter_context(torch.profiler.record_function(phase))  # names the phase in a trace
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._current = (phase, time.monotonic(), record)

    def leave(self) -> None:
        """End the current phase, if there is one."""
        if self._current is None:
            return
        phase, begun, record = self._current
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        record.close()
        self._current = None
        name = f"time/{phase}_seconds"
        self._line[name] = self._line.get(name, 0.0) + time.monotonic() - begun
        memory = memory_bytes(self._device)
        if memory is not None:
            self._line[f"memory/{phase}_bytes"] = max(memory, self._line.get(f"memory/{phase}_bytes", 0.0))

    def line(self) -> dict[str, float]:
        """The metrics of the phases since the last call."""
        self.leave()
        line, self._line = self._line, {}
        return line


def memory_bytes(device: torch.device) -> float | None:
    """On a GPU the peak of allocated memory since it was reset, else the resident memory; None where it is unknown."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def trace_path(folder: Path, step: int, process: int) -> Path:
    """The file of a process's trace of a step."""
    return folder / TRACES / f"step-{step:06d}-process-{process}.json.gz"


@contextlib.contextmanager
def traced(path: Path | None) -> Iterator[None]:
    """Write a torch trace of the block to ``path``, for chrome://tracing or Perfetto; nothing without a path.

    Raises:
        TrainerError: the file or its folder is a link, or the trace cannot be written.
    """
    if path is None:
        yield
        return
    link = next((place for place in (path.parent, path) if place.is_symlink()), None)
    if link is not None:  # of a run folder that may be another person's
        raise fg.TrainerError(f"trainer.profile_steps: {link} is a link; remove it")
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        yield
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(path))
    except (OSError, RuntimeError) as error:
        raise fg.TrainerError(f"cannot write the trace {path}: {error}") from None
