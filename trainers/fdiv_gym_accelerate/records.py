"""What a run keeps on disk besides its checkpoints: samples up to a budget, and metrics of every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fdiv_gym.runs import METRICS, SAMPLES, RunFolder


class Records:
    """The samples and metrics of a run.

    Args:
        folder: the run folder.
        max_mb: megabytes of samples.jsonl from which on no samples are kept.
        report: takes one line about what is not kept, or was lost.
    """

    def __init__(self, folder: RunFolder, max_mb: float, report: Callable[[str], None]) -> None:
        self._folder, self._max_mb, self._report = folder, max_mb, report
        self._reported = False

    def keep_samples(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Append samples, unless the file has reached its budget, which is reported once."""
        if self._folder.size(SAMPLES) < self._max_mb * 1e6:
            self._folder.append(SAMPLES, *samples)
        elif samples and not self._reported:
            self._reported = True
            self._report(
                f"samples.jsonl has reached {self._max_mb:g} MB (trainer.samples_max_mb): no more samples are kept; "
                "metrics and evaluations are not affected"
            )

    def missing(self, step: int) -> dict[str, Any]:
        """The steps up to ``step`` without a line in metrics.jsonl, for summary.json; {} if there are none."""
        found = {line.get("step") for line in self._folder.lines(METRICS)}
        gaps = [number for number in range(1, step + 1) if number not in found]
        return {"steps_without_metrics": gaps} if gaps else {}

    def report_missing(self, step: int) -> None:
        """Report the steps that have no metrics, e.g. because the file was deleted."""
        gaps = self.missing(step).get("steps_without_metrics", [])
        if gaps:
            self._report(
                f"metrics.jsonl lacks {len(gaps)} of {step} steps, from {gaps[0]} to {gaps[-1]}: it was changed"
            )
