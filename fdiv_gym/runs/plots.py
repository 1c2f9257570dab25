"""Plots of runs as SVG data for the report: training curves with smoothing, held-out scores with intervals."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fdiv_gym.errors import MissingExtraError

Lines = Sequence[Mapping[str, Any]]

SPAN = 10
"""Steps over which a training curve is smoothed (exponential moving average with weight 2/(SPAN + 1))."""

TRAINING = (
    ("Training reward", {"reward": "reward/mean"}, "mean reward"),
    ("Loss", {"loss": "loss"}, "objective's value"),
    ("Groups whose rewards are all equal", {"all equal": "groups/all_equal"}, "share"),
    ("Divergence from the reference", {"estimate": "divergence/estimate"}, "D_f, estimated on rollouts"),
    ("Gradient norm", {"all": "grad_norm", "rollouts": "grad_norm/rollouts", "preferences": "grad_norm/preferences"},
     "before clipping"),
    ("Response length", {"tokens": "response/tokens"}, "tokens"),
)  # fmt: skip


@dataclass(frozen=True)
class Curves:
    """What the plots of one run are drawn from.

    Args:
        name: label of the run; shown where several runs are compared.
        metrics: lines of metrics.jsonl.
        evaluations: lines of evaluations.jsonl.
        intervals: half width of the 95 % interval of each held-out score, by (step, mode).
    """

    name: str
    metrics: Lines
    evaluations: Lines
    intervals: Mapping[tuple[int, str], float]


def plots_of(runs: Sequence[Curves]) -> dict[str, str]:
    """Each plot by its title, as a data URI.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    plots: dict[str, str] = {}
    if any(run.evaluations for run in runs):
        plots["Held-out score, with 95 % intervals over tasks"] = _scores(runs)
    curriculum = sorted({key for run in runs for line in run.metrics[-1:] for key in line if key[:11] == "curriculum/"})
    extra = [("Curriculum", {key.partition("/")[2]: key for key in curriculum}, "state")]
    for title, curves, unit in (*TRAINING, *extra):
        present = {label: key for label, key in curves.items() if any(key in line for r in runs for line in r.metrics)}
        if present:
            plots[title] = _curves(runs, present, unit)
    return plots


def smoothed(values: Sequence[float], span: int = SPAN) -> list[float]:
    """Exponential moving average, corrected for its start: the first value is kept."""
    weight, total, norm, result = 2 / (span + 1), 0.0, 0.0, []
    for value in values:
        total = (1 - weight) * total + weight * value
        norm = (1 - weight) * norm + weight
        result.append(total / norm)
    return result


def _scores(runs: Sequence[Curves]) -> str:
    figure, axes = _axes("mean score", "step")
    for run in runs:
        for mode in ("sampled", "greedy"):
            points = _points(run.evaluations, f"score/{mode}")
            if not points:
                continue
            steps, values = [p[0] for p in points], [p[1] for p in points]
            errors = [run.intervals.get((step, mode), 0.0) for step in steps]
            label = mode if len(runs) == 1 else f"{run.name}, {mode}"
            axes.errorbar(steps, values, yerr=errors, label=label, linewidth=1.4, marker="o", markersize=4, capsize=2)
    axes.legend(frameon=False)
    return _svg(figure)


def _curves(runs: Sequence[Curves], curves: Mapping[str, str], unit: str) -> str:
    figure, axes = _axes(unit, "step")
    count = 0
    for run in runs:
        for label, key in curves.items():
            points = _points(run.metrics, key)
            if not points:
                continue
            steps, values = [p[0] for p in points], [p[1] for p in points]
            (faint,) = axes.plot(steps, values, linewidth=0.8, alpha=0.35)
            name = label if len(runs) == 1 else f"{run.name}, {label}" if len(curves) > 1 else run.name
            axes.plot(steps, smoothed(values), linewidth=1.6, color=faint.get_color(), label=name)
            count += 1
    if count > 1:
        axes.legend(frameon=False)
    return _svg(figure)


def _points(lines: Lines, key: str) -> list[tuple[int, float]]:
    """(step, value) where there is a finite value."""
    found = [(line["step"], line.get(key)) for line in lines]
    return [(step, float(v)) for step, v in found if isinstance(v, (int, float)) and math.isfinite(v)]


def _axes(ylabel: str, xlabel: str) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise MissingExtraError("the report needs matplotlib: pip install 'fdiv-gym[train]'") from None
    figure = Figure(figsize=(5.2, 2.7), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(xlabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    return figure, axes


def _svg(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
