"""The progress display of a run: a live screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

from fdiv_gym.registry import printable
from fdiv_gym.runs import leave_closed_output

STEP_METRICS = (
    ("reward/mean", "reward", "{:.3f}", "mean reward"),
    ("groups/all_equal", "equal", "{:.0%}", "share of groups whose rewards are all equal"),
    ("divergence/estimate", "D", "{:.2g}", "estimated divergence from the reference"),
    ("curriculum/open_level", "level", "{:.0f}", "hardest open level of the curriculum"),
    ("time/kilotokens", "ktok/s", "{:.1f}", "thousand sampled tokens a second"),
)
"""Metric, label, format and meaning of the values on the progress line; it has at most ``SHOWN`` of them."""

SHOWN = 4


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

    def __init__(self, every: float = 5.0) -> None:
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
                self.message(legend(metrics))
                self._explained = True
            self.message(f"step {step}/{self._steps}  " + "  ".join(f"{k} {v}" for k, v in shown_metrics(metrics)))

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of an evaluation."""
        self.message(f"evaluation at step {step}  " + score_line(metrics))

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

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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
            self.message(legend(metrics))
            self._explained = True
        text = " ".join(f"[dim]{key}[/dim] {value}" for key, value in shown_metrics(metrics))
        self._progress.update(self._task, completed=step, metrics=text)

    def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of an evaluation."""
        self._progress.console.print(f"[bold]held-out, step {step:>4}[/bold]  {score_line(metrics)}")

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


def make_screen() -> Screen:
    """The screen that suits the standard output; only the first process of a run prints."""
    import os
    import sys

    if os.environ.get("RANK", "0") != "0" or os.environ.get("FDIV_GYM_QUIET"):
        return SilentScreen()
    return RichScreen() if sys.stdout.isatty() else PlainScreen()


def shown_metrics(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """Label and value of the metrics of a step that fit beside the bar on 80 columns."""
    return [(label, form.format(value)) for label, form, _, value in _selected(metrics)]


def legend(metrics: Mapping[str, float]) -> str:
    """One line that explains the labels ``shown_metrics`` gives for ``metrics``."""
    return "; ".join(f"{label}: {meaning}" for label, _, meaning, _ in _selected(metrics))


def _selected(metrics: Mapping[str, float]) -> list[tuple[str, str, str, float]]:
    """Label, format, meaning and value of each shown metric."""
    metrics = {**metrics, "time/kilotokens": metrics.get("time/tokens_per_second", 0.0) / 1000}
    rows = [(label, form, meaning, metrics[key]) for key, label, form, meaning in STEP_METRICS if key in metrics]
    return rows[:SHOWN]


def score_line(metrics: Mapping[str, float]) -> str:
    """The metrics of an evaluation on one line."""
    shown = {"sampled": "score/sampled", "greedy": "score/greedy"}
    shown |= {name.partition("/")[2]: name for name in metrics if name.startswith(("env/", "episode/"))}
    shown |= {name.replace("/", " "): name for name in metrics if name.startswith(("drift/", "preference/"))}
    text = "  ".join(f"{label} {metrics[name]:.3f}" for label, name in shown.items() if name in metrics)
    return text + (f"  unscored {metrics['unscored']:.1%}" if metrics.get("unscored") else "")
