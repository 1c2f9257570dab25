"""The progress display of a run: a live screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fdiv_gym.registry.messages import printable
from fdiv_gym.runs.signals import leave_closed_output

SHOWN = 4
"""Most metrics beside the bar, on 80 columns."""


@dataclass(frozen=True)
class StepMetric:
    """A metric of steps that a trainer shows while it runs.

    Args:
        key: in ``metrics.jsonl``.
        label: before the value.
        form: a format of the value, e.g. ``{:.3f}``.
        meaning: a phrase for the legend.
        factor: by which the value is multiplied before it is shown.
    """

    key: str
    label: str
    form: str
    meaning: str
    factor: float = 1.0

    def text(self, metrics: Mapping[str, float]) -> str:
        """The value as it is shown."""
        return self.form.format(self.factor * metrics[self.key])


@dataclass(frozen=True)
class Shown:
    """What a trainer shows of its metrics.

    Args:
        steps: of a step; the first ``SHOWN`` that it has.
        evaluation: the metrics of an evaluation on one line.
    """

    steps: tuple[StepMetric, ...]
    evaluation: Callable[[Mapping[str, float]], str]

    def values(self, metrics: Mapping[str, float]) -> list[tuple[str, str]]:
        """Label and value of the metrics of a step."""
        return [(one.label, one.text(metrics)) for one in self._present(metrics)]

    def legend(self, metrics: Mapping[str, float]) -> str:
        """One line that explains the labels that ``values`` gives for ``metrics``."""
        return "; ".join(f"{one.label}: {one.meaning}" for one in self._present(metrics))

    def _present(self, metrics: Mapping[str, float]) -> list[StepMetric]:
        return [one for one in self.steps if one.key in metrics][:SHOWN]


class Screen(Protocol):
    """Shows the progress of a run."""

    def start(self, steps: int, done: int) -> None:
        """Training starts after ``done`` steps of ``steps``."""

    def warm_start(self, step: int, steps: int, loss: float) -> None:
        """Show one step of the warm start of the embedded model."""

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of a step."""

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of an evaluation."""

    def message(self, text: str) -> None:
        """Print one line of text."""

    def stop(self) -> None:
        """Close the display."""


class PlainScreen:
    """Lines of text, at most one every ``every`` seconds for steps; for logs and pipes."""

    def __init__(self, shown: Shown, every: float = 5.0) -> None:
        self._shown = shown
        self._every = every
        self._last = 0.0
        self._steps = 0
        self._explained = False

    def start(self, steps: int, done: int) -> None:
        """Training starts."""
        self._steps = steps

    def warm_start(self, step: int, steps: int, loss: float) -> None:
        """Show one step of the warm start of the embedded model."""
        if self._due() or step == steps:
            self.message(f"warm start {step}/{steps}  loss {loss:.3f}")

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of a step."""
        if self._due() or step == self._steps:
            if not self._explained:
                self.message(self._shown.legend(metrics))
                self._explained = True
            self.message(f"step {step}/{self._steps}  " + "  ".join(f"{k} {v}" for k, v in self._shown.values(metrics)))

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of an evaluation."""
        self.message(f"evaluation at step {step}  " + self._shown.evaluation(metrics))

    def message(self, text: str) -> None:
        """Print one line of text; a run whose output nobody reads any more goes on without it."""
        try:
            print(printable(text), flush=True)  # noqa: T201 - this is the screen
        except BrokenPipeError:
            leave_closed_output()
            with contextlib.suppress(OSError):
                print("the output was closed: the run goes on without it", file=sys.stderr, flush=True)  # noqa: T201

    def stop(self) -> None:
        """Nothing to close."""

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._last < self._every:
            return False
        self._last = now
        return True


class RichScreen:
    """A progress bar with the metrics of the last step; evaluations are printed above it."""

    def __init__(self, shown: Shown) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._shown = shown
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[metrics]}"),
        )
        self._task: Any = None
        self._explained = False
        self._progress.start()

    def start(self, steps: int, done: int) -> None:
        """Training starts."""
        self._finish_task()
        self._task = self._progress.add_task("training", total=steps, completed=done, metrics="")

    def warm_start(self, step: int, steps: int, loss: float) -> None:
        """Show one step of the warm start of the embedded model."""
        if self._task is None:
            self._task = self._progress.add_task("warm start", total=steps, metrics="")
        self._progress.update(self._task, completed=step, metrics=f"loss {loss:.3f}")

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of a step."""
        if not self._explained:
            self.message(self._shown.legend(metrics))
            self._explained = True
        text = " ".join(f"[dim]{key}[/dim] {value}" for key, value in self._shown.values(metrics))
        self._progress.update(self._task, completed=step, metrics=text)

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of an evaluation."""
        from rich.markup import escape

        text = escape(self._shown.evaluation(metrics))
        self._progress.console.print(f"[bold]held-out, step {step:>4}[/bold]  {text}")

    def message(self, text: str) -> None:
        """Print one line of text."""
        self._progress.console.print(printable(text), markup=False, highlight=False)

    def stop(self) -> None:
        """Restore the terminal."""
        self._progress.stop()

    def _finish_task(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


class SilentScreen(PlainScreen):
    """Shows nothing: for processes other than the first, and for tests."""

    def message(self, text: str) -> None:
        """Print nothing."""


def make_screen(shown: Shown) -> Screen:
    """The screen that suits the standard output; nothing in other processes than the first or with FDIV_GYM_QUIET.

    Args:
        shown: which metrics it shows.
    """
    if os.environ.get("RANK", "0") != "0" or os.environ.get("FDIV_GYM_QUIET"):
        return SilentScreen(shown)
    return RichScreen(shown) if sys.stdout.isatty() else PlainScreen(shown)
