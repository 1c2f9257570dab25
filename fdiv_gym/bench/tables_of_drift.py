"""How far policies are from their reference at equal reward, and scores against true scores."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from fdiv_gym.bench.comparing import paired_difference
from fdiv_gym.bench.numbers import entry, entry_of, mean_over_seeds
from fdiv_gym.bench.ranking import DECIMALS
from fdiv_gym.bench.record import Record
from fdiv_gym.bench.resampling import DEFAULT, Resampling, Values
from fdiv_gym.bench.results import METRIC, View
from fdiv_gym.bench.tables_of_pairs import OF_QUANTITIES, judged
from fdiv_gym.bench.tables_of_scores import curve_of, points

DIVERGENCE = "divergence/"
COMPARED = "divergence/kl"
"""The divergence by which drift at equal reward is compared."""
TRUE_SCORE = "env/true_score"


def drift(view: View, how: Resampling = DEFAULT) -> list[dict[str, Any]]:
    """The divergence of each objective at the first evaluation whose score reaches a level that all objectives reach.

    The level of an environment is the lowest final mean of its objectives. Environments without a divergence in their
    evaluations, or whose level is not above the untrained model, are left out of the comparison and say so in ``note``.
    """
    found = []
    for environment in view.complete:
        groups = {o: view.group(o, environment) or [] for o in view.objectives}
        level = min(float(view.final(o, environment).mean()) for o in view.objectives)
        start = view.untrained(environment)
        result: dict[str, Any] = {"environment": environment, "level": level, "note": "", "rows": [], "pairs": []}
        found.append(result)
        if not all(COMPARED in record.curve for group in groups.values() for record in group):
            result["note"] = "the evaluations hold no divergence"
        elif start is None or level - start <= 10**-DECIMALS:
            result["note"] = "an objective does not end above the untrained model: no reward that all have in common"
        else:
            reached = {o: [_first_at(view, environment, r, level) for r in group] for o, group in groups.items()}
            result["rows"] = [_row(o, groups[o], steps) for o, steps in reached.items()]
            result["pairs"] = _pairs(groups, reached, how)
    return found


def true_scores(view: View, how: Resampling = DEFAULT) -> list[dict[str, Any]]:
    """The score and the true score of environments that have one: curves, and what changed since the true score's peak.

    A score that still rises while the true score falls is a reward that was hacked. The peak is that of the mean over
    seeds; it is the largest of noisy numbers, so the change since then is biased downwards.
    """
    found, differences = [], []
    for objective in view.objectives:
        for environment in view.environments:
            records = view.group(objective, environment) or []
            curve = curve_of(view, objective, environment, TRUE_SCORE)
            if not curve["step"]:
                continue
            peak = curve["step"][int(np.argmax(curve["mean"]))]
            last = curve["step"][-1]
            true = [points(record, TRUE_SCORE) for record in records]
            end, top = _column(true, last), _column(true, peak)
            differences.append(paired_difference(end, top, how))
            found.append(
                {
                    "objective": objective,
                    "environment": environment,
                    "score": entry(mean_over_seeds(view.final(objective, environment))),
                    "true_score": entry(mean_over_seeds(end[:, 0])),
                    "peak": {"step": peak, **entry(mean_over_seeds(top[:, 0]))},
                    "curves": {"score": curve_of(view, objective, environment, METRIC), "true_score": curve},
                }
            )
    judgements = judged(differences, OF_QUANTITIES)
    return [{**row, "since_peak": judgement} for row, judgement in zip(found, judgements, strict=True)]


def _first_at(view: View, environment: str, record: Record, level: float) -> int | None:
    """The step of the first evaluation with at least the level (up to rounding) and a divergence."""
    drifts = points(record, COMPARED)
    for step, score in points(record, METRIC).items():
        if step in drifts and float(view.normalised(environment, score)) >= level - 10**-DECIMALS:
            return step
    return None


def _row(objective: str, group: Sequence[Record], steps: Sequence[int | None]) -> dict[str, Any]:
    names = sorted({name for record in group for name in record.curve if name.startswith(DIVERGENCE)})
    values = {
        name: [None if step is None else points(r, name).get(step) for r, step in zip(group, steps, strict=True)]
        for name in names
    }
    known = [step for step in steps if step is not None]
    return {
        "objective": objective,
        "reached": len(known),
        "seeds": len(steps),
        "step": float(np.median(known)) if known else None,
        "divergences": {n.removeprefix(DIVERGENCE): entry_of(column, len(steps)) for n, column in values.items()},
    }


def _pairs(
    groups: dict[str, list[Record]], reached: dict[str, list[int | None]], how: Resampling
) -> list[dict[str, Any]]:
    """Differences of objectives of which every seed reached the level."""
    columns: dict[str, Values] = {}
    for objective, steps in reached.items():
        if None not in steps:
            pairs = zip(groups[objective], steps, strict=True)
            columns[objective] = np.array([[points(r, COMPARED)[s]] for r, s in pairs if s is not None])
    both = list(combinations(columns, 2))
    judgements = judged([paired_difference(columns[a], columns[b], how) for a, b in both], OF_QUANTITIES)
    return [{"a": a, "b": b, **judgement} for (a, b), judgement in zip(both, judgements, strict=True)]


def _column(curves: Sequence[dict[int, float]], step: int) -> Values:
    return np.array([[curve[step]] for curve in curves])
