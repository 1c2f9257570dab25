"""Plots of runs as SVG data for the report: training curves with smoothing, held-out scores with intervals."""

from __future__ import annotations

import base64
import io
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from fdiv_gym.errors import MissingExtraError

Lines = Sequence[Mapping[str, Any]]

SPAN = 10
"""Steps over which a training curve is smoothed (exponential moving average with weight 2/(SPAN + 1))."""

DIVERGENCE = "D_f, estimated on rollouts"

TRAINING = (
    ("Training reward", {"reward": "reward/mean"}, "mean reward"),
    ("Loss", {"loss": "loss"}, "objective's value"),
    ("Groups whose rewards are all equal", {"all equal": "groups/all_equal"}, "share"),
    ("Divergence from the reference", {"estimate": "divergence/estimate"}, DIVERGENCE),
    ("Gradient norm", {"all": "grad_norm", "rollouts": "grad_norm/rollouts", "preferences": "grad_norm/preferences"},
     "before clipping"),
    ("Response length", {"tokens": "response/tokens"}, "tokens"),
)  # fmt: skip

#: Only where a step takes several updates: with one update the policy is the old one.
SEVERAL_UPDATES = (
    (
        "Ratio to the old policy",
        {"1 %": "ratio/p01", "median": "ratio/p50", "99 %": "ratio/p99"},
        "quantile over tokens",
    ),
    ("KL divergence to the old policy", {"estimate": "ratio/kl_old"}, "nats a token"),
    ("Clipped tokens", {"low": "rollouts/clipped_low", "high": "rollouts/clipped_high"}, "share"),
    ("Updates of a step", {"updates": "updates/count"}, "optimizer steps"),
)

#: Only of environments of several turns.
SEVERAL_TURNS = (
    ("Turns of an episode", {"turns": "episode/turns"}, "responses"),
    ("Truncated episodes", {"truncated": "episode/truncated", "response cut off": "response/cut_off"}, "share"),
    ("Tokens of an episode", {"policy": "response/tokens", "environment": "episode/environment_tokens"}, "tokens"),
)

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
"""Colours of the curves of a run, or of the runs of a comparison, in order."""

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_ .,/-]{0,39}")
"""Labels of curves that matplotlib draws as they are: no formulas, no missing characters."""

MODES = ("sampled", "greedy")
LINE_STYLES = ("-", "--", ":")


@dataclass(frozen=True)
class Curves:
    """What the plots of one run are drawn from.

    Args:
        name: label of the run; the comparison shows it with the run's colour.
        metrics: lines of metrics.jsonl.
        evaluations: lines of evaluations.jsonl.
        intervals: 95 % interval (low, high) of each held-out score, by (step, mode).
    """

    name: str
    metrics: Lines
    evaluations: Lines
    intervals: Mapping[tuple[int, str], tuple[float, float]]


def plots_of(runs: Sequence[Curves]) -> dict[str, str]:
    """Each plot by its title, as a data URI; a plot without a finite value is left out.

    Of several runs, each keeps its colour in every plot. Their names are not drawn: they may hold any characters.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    plots: dict[str, str] = {}
    if any(_points(run.evaluations, f"score/{mode}") for run in runs for mode in MODES):
        plots["Held-out score"] = _scores(runs)
    known = {key for _, curves, _ in SEVERAL_TURNS for key in curves.values()}
    episodes = {label: key for label, key in _named(runs, "episode/").items() if key not in known}
    turns = any(_points(run.metrics, "episode/turns") for run in runs)
    extra = [
        ("Outcomes of episodes", episodes, "mean" if len(episodes) != 1 else f"mean of {next(iter(episodes))}"),
        ("Curriculum", _named(runs, "curriculum/"), "state"),
    ]
    updates = any(y > 1 for run in runs for _, y in _points(run.metrics, "updates/count"))
    conditional = (*(SEVERAL_UPDATES if updates else ()), *(SEVERAL_TURNS if turns else ()))
    for title, curves, unit in (*TRAINING, *conditional, *extra):
        present = {label: key for label, key in curves.items() if any(_points(r.metrics, key) for r in runs)}
        if present:
            plots[title] = _curves(runs, present, unit)
    return plots


def _named(runs: Sequence[Curves], prefix: str) -> dict[str, str]:
    """The keys of the last steps that begin so, by the rest: names of plugins, of which only plain ones are drawn."""
    keys = sorted({key for run in runs for line in run.metrics[-1:] for key in line if key.startswith(prefix)})
    named = {key.removeprefix(prefix): key for key in keys}
    return {label: key for label, key in named.items() if PLAIN.fullmatch(label)}


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
    drawn: dict[str, Any] = {}
    for i, run in enumerate(runs):
        for k, mode in enumerate(MODES):
            points = _points(run.evaluations, f"score/{mode}")
            if not points:
                continue
            steps, values = [p[0] for p in points], [p[1] for p in points]
            bounds = [run.intervals.get((step, mode), (value, value)) for step, value in points]
            errors = [[max(v - low, 0.0) for v, (low, _) in zip(values, bounds, strict=True)],
                      [max(high - v, 0.0) for v, (_, high) in zip(values, bounds, strict=True)]]  # fmt: skip
            drawn[mode] = axes.errorbar(
                steps, values, yerr=errors, linewidth=1.4, marker="o", markersize=4, capsize=2, **_style(runs, i, k)
            )
    _legend(axes, runs, drawn)
    return _svg(figure)


def _curves(runs: Sequence[Curves], curves: Mapping[str, str], unit: str) -> str:
    figure, axes = _axes(unit, "step")
    drawn: dict[str, Any] = {}
    for i, run in enumerate(runs):
        for k, (label, key) in enumerate(curves.items()):
            points = _points(run.metrics, key)
            if not points:
                continue
            steps, values = [p[0] for p in points], [p[1] for p in points]
            style = _style(runs, i, k) | {"marker": "o" if len(points) == 1 else None}
            axes.plot(steps, values, linewidth=0.8, alpha=0.35, **style)
            (drawn[label],) = axes.plot(steps, smoothed(values), linewidth=1.6, **style)
    if len(drawn) > 1:
        _legend(axes, runs, drawn)
    if max((abs(y) for line in axes.get_lines() for y in line.get_ydata()), default=0.0) > 50 and unit == DIVERGENCE:
        axes.set_yscale("symlog", linthresh=1.0)  # single steps reach thousands and would hide the others
    return _svg(figure)


BESIDE = 6
"""Most series whose legend is inside the axes."""


def series_plot(series: Mapping[str, Sequence[tuple[int, float]]], unit: str) -> tuple[str, dict[str, str]]:
    """A figure of named series over the steps as a data URI, and the names that stand for those it cannot draw.

    Args:
        series: (step, value) by name, all finite.
        unit: of the vertical axis; left out unless it is plain text.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _axes(unit if PLAIN.fullmatch(unit) else "", "step")
    replaced: dict[str, str] = {}
    for k, (name, points) in enumerate(series.items()):
        label = name if PLAIN.fullmatch(name) else f"series {k + 1}"
        if label != name:
            replaced[label] = name
        axes.plot(
            [p[0] for p in points], [p[1] for p in points], linewidth=1.4, label=label,
            color=COLOURS[k % len(COLOURS)], linestyle=LINE_STYLES[k // len(COLOURS) % len(LINE_STYLES)],
            marker="o" if len(points) == 1 else None,
        )  # fmt: skip
    if len(series) > BESIDE:  # a legend higher than the axes leaves them no room
        figure.set_size_inches(5.2, max(2.7, 0.6 + 0.2 * len(series)))
        figure.legend(loc="outside right upper", frameon=False, fontsize="x-small")
    elif series:
        axes.legend(frameon=False)
    return _svg(figure), replaced


def _legend(axes: Any, runs: Sequence[Curves], drawn: Mapping[str, Any]) -> None:
    """The meaning of the curves; of several runs, of the line styles, in grey."""
    from matplotlib.lines import Line2D

    styles = dict(zip(drawn, LINE_STYLES, strict=False))
    grey = [Line2D([], [], color="0.4", linestyle=style) for style in styles.values()]
    axes.legend(list(drawn.values()) if len(runs) == 1 else grey, list(drawn), frameon=False)


def _style(runs: Sequence[Curves], run: int, curve: int) -> dict[str, str]:
    """A colour for each curve of one run; of several runs, a colour for each run and a line style for each curve."""
    if len(runs) == 1:
        return {"color": COLOURS[curve % len(COLOURS)]}
    return {"color": COLOURS[run % len(COLOURS)], "linestyle": LINE_STYLES[curve % len(LINE_STYLES)]}


def _points(lines: Lines, key: str) -> list[tuple[int, float]]:
    """(step, value) where there is a finite value."""
    found = [(line["step"], line.get(key)) for line in lines]
    return [(step, float(v)) for step, v in found if is_number(v) and math.isfinite(v)]


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of a JSON file is a number; ``true`` is none, nor is an integer beyond the largest float."""
    if isinstance(value, int):
        return type(value) is int and abs(value) <= sys.float_info.max
    return isinstance(value, float)


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
