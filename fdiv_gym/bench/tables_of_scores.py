"""The tables of final scores and of learning: leaderboard, heat map, curves and performance profiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdiv_gym.bench.aggregates import aggregate_scores, performance_profile
from fdiv_gym.bench.curves import area_under_curve, budget_to_target
from fdiv_gym.bench.numbers import Entry, entry, mean_over_seeds, nothing
from fdiv_gym.bench.ranking import DECIMALS, average_rank, relative_overall
from fdiv_gym.bench.record import Record
from fdiv_gym.bench.resampling import DEFAULT, Resampling, Values
from fdiv_gym.bench.results import METRIC, View
from fdiv_gym.errors import BenchError

THRESHOLDS = np.arange(51) / 50.0
"""tau of the performance profiles."""
TARGET = 0.5
"""The target of an environment, as share of the best objective's gain over the untrained model."""
SPENT = ("tokens", "verifications", "seconds")
NO_ENVIRONMENT = "no environment is complete"


def leaderboard(view: View, how: Resampling = DEFAULT) -> list[dict[str, Any]]:
    """The objectives with their aggregates over the complete environments, best interquartile mean first."""
    complete = view.complete
    scores = {o: view.matrix_of(o, complete) for o in view.objectives} if complete else {}
    ranks, relative = _ranks(view, scores, how), _relative(view, scores, how)
    rows = []
    for objective in view.objectives:
        row: dict[str, Any] = {"objective": objective}
        row |= _aggregates(scores.get(objective), how)
        row |= {"average_rank": ranks[objective], "relative_overall": relative[objective]}
        row |= {"auc": _auc(view, objective, complete, how), "ceiling": _ceiling(view, objective, complete, how)}
        row |= {"rates": _rates(view, objective), "failed": view.failed(objective)}
        row |= {"to_target": _to_target(view, objective, complete)}
        rows.append(row)
    return sorted(rows, key=lambda row: -math.inf if row["iqm"]["value"] is None else row["iqm"]["value"], reverse=True)


def heatmap(view: View) -> dict[str, dict[str, Any]]:
    """The mean final score of each objective on each environment with its t interval over seeds, and every seed's."""
    return {o: {e: _heat(view, o, e) for e in view.environments} for o in view.objectives}


def curves(view: View) -> dict[str, dict[str, Any]]:
    """The normalised score at the evaluations that all seeds have in common, with t intervals over seeds."""
    return {o: {e: curve_of(view, o, e, METRIC) for e in view.environments} for o in view.objectives}


def curve_of(view: View, objective: str, environment: str, metric: str) -> dict[str, list[Any]]:
    """Mean and interval over seeds of a metric at each evaluation; empty lists if a seed is missing.

    ``score/...`` is normalised by the environment's range, every other metric has its own unit.
    """
    found: dict[str, list[Any]] = {"step": [], "mean": [], "low": [], "high": []}
    by_seed = [points(record, metric) for record in view.group(objective, environment) or ()]
    steps = sorted(set.intersection(*(set(p) for p in by_seed))) if by_seed else []
    for step in steps:
        values = np.array([p[step] for p in by_seed])
        estimate = mean_over_seeds(view.normalised(environment, values) if metric.startswith("score/") else values)
        for name, value in zip(found, (step, estimate.value, estimate.low, estimate.high), strict=True):
            found[name].append(value)
    return found


def points(record: Record, metric: str) -> dict[int, float]:
    """The metric at each step where an evaluation has it."""
    values = record.curve.get(metric, [])
    pairs = zip(record.curve["step"], values, strict=False)
    return {int(step): value for step, value in pairs if step is not None and value is not None}


def profiles(view: View, how: Resampling = DEFAULT) -> dict[str, dict[str, Any]]:
    """The share of runs above each normalised score, over the complete environments."""
    complete, found = view.complete, {}
    for objective in view.objectives if complete else ():
        profile = performance_profile(view.matrix_of(objective, complete), THRESHOLDS, how=how)
        found[objective] = {
            "tau": profile.thresholds,
            "value": profile.share,
            "low": profile.low,
            "high": profile.high,
        }
    return found


def targets(view: View) -> dict[str, float | None]:
    """The normalised score that each complete environment's target is; None where no objective learns."""
    found: dict[str, float | None] = {}
    for environment in view.complete:
        start = view.untrained(environment)
        best = max(float(view.final(objective, environment).mean()) for objective in view.objectives)
        learns = start is not None and best - start > 10**-DECIMALS
        found[environment] = start + TARGET * (best - start) if start is not None and learns else None
    return found


def without_gain(view: View) -> list[str]:
    """The complete environments in which relative overall is not defined: no objective is above the untrained model."""
    found = []
    for environment in view.complete:
        start = view.untrained(environment)
        finals = [float(view.final(objective, environment).mean()) for objective in view.objectives]
        if start is not None and round(max(finals) - start, DECIMALS) <= 0.0:
            found.append(environment)
    return found


def _aggregates(scores: Values | None, how: Resampling) -> dict[str, Entry]:
    names = ("iqm", "mean", "median", "optimality_gap")
    if scores is None:
        return {name: nothing(NO_ENVIRONMENT) for name in names}
    found = aggregate_scores(scores, how=how)
    return {name: entry(found[name]) for name in names}


def _ranks(view: View, scores: dict[str, Values], how: Resampling) -> dict[str, Entry]:
    if len(scores) < 2:
        note = "a rank needs two objectives" if scores else NO_ENVIRONMENT
        return dict.fromkeys(view.objectives, nothing(note))
    ranking = average_rank(scores, how)
    return {o: {**entry(e), "places": _places(ranking.places, o)} for o, e in ranking.estimates.items()}


def _relative(view: View, scores: dict[str, Values], how: Resampling) -> dict[str, Entry]:
    if len(scores) < 2:
        return dict.fromkeys(view.objectives, nothing("it needs two objectives" if scores else NO_ENVIRONMENT))
    dropped, base = without_gain(view), {e: view.untrained(e) for e in view.complete}
    if any(start is None for start in base.values()):
        return dict.fromkeys(view.objectives, nothing("there is no evaluation of the untrained model"))
    kept = [i for i, environment in enumerate(base) if environment not in dropped]
    if not kept:
        return dict.fromkeys(view.objectives, nothing("no objective is better than the untrained model"))
    zero = [base[environment] for environment in np.array(list(base))[kept]]
    ranking = relative_overall({o: s[:, kept] for o, s in scores.items()}, np.array(zero, dtype=np.float64), how=how)
    return {o: {**entry(e), "places": _places(ranking.places, o)} for o, e in ranking.estimates.items()}


def _places(places: dict[str, Values] | None, objective: str) -> Values | None:
    return None if places is None else places[objective]


def _per_run(view: View, objective: str, environments: Sequence[str], of: Any, how: Resampling) -> Entry:
    """The mean over runs of a number that each run's curve gives."""
    if not environments:
        return nothing(NO_ENVIRONMENT)
    columns = []
    for environment in environments:
        records = view.group(objective, environment) or ()
        try:
            columns.append([of(environment, record) for record in records])
        except BenchError as error:
            return nothing(f"{environment}: {error}")
    return entry(aggregate_scores(np.array(columns).T, how=how)["mean"])


def _auc(view: View, objective: str, environments: Sequence[str], how: Resampling) -> Entry:
    def of(environment: str, record: Record) -> float:
        found = points(record, METRIC)
        return area_under_curve(list(found), view.normalised(environment, list(found.values())))

    return _per_run(view, objective, environments, of, how)


def _ceiling(view: View, objective: str, environments: Sequence[str], how: Resampling) -> Entry:
    def of(environment: str, record: Record) -> float:
        return float(view.normalised(environment, max(points(record, METRIC).values())))

    return _per_run(view, objective, environments, of, how)


def _rates(view: View, objective: str) -> dict[str, float | None]:
    found = {}
    for environment in view.environments:
        names = [view.name(objective, environment, seed) for seed in view.seeds]
        known = [view.results.records[name].rate for name in names if name in view.results.records]
        found[environment] = known[0] if known else None
    return found


def _to_target(view: View, objective: str, environments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The median over seeds of what was spent at the first evaluation at the target, by environment.

    A record has what the whole run spent: at an evaluation it is taken in proportion to the steps.
    """
    wanted = targets(view)
    found: dict[str, dict[str, Any]] = {kind: {} for kind in SPENT}
    for environment in environments:
        target, records = wanted[environment], view.group(objective, environment) or ()
        for kind in SPENT:
            spent = [] if target is None else [_spent(view, environment, record, kind, target) for record in records]
            middle = float(np.median(spent)) if spent else math.inf
            found[kind][environment] = {
                "target": target,
                "value": middle if math.isfinite(middle) else None,
                "reached": sum(map(math.isfinite, spent)),
                "seeds": len(records),
            }
    return found


def _spent(view: View, environment: str, record: Record, kind: str, target: float) -> float:
    """What a run has spent at its first evaluation at the target; infinite if it never reaches it."""
    assert record.budget is not None
    found = points(record, METRIC)
    step = budget_to_target(list(found), view.normalised(environment, list(found.values())), target)
    each = getattr(record.budget, kind) / max(record.budget.steps, 1)
    return math.inf if step is None else float(step * each)


def _heat(view: View, objective: str, environment: str) -> dict[str, Any]:
    finals = view.final(objective, environment)
    seeds = dict(zip(view.seeds, finals, strict=True))
    if view.group(objective, environment) is None:
        return {**nothing("a seed is missing"), "mean": None, "seeds": seeds}
    estimate = mean_over_seeds(finals)
    return {**entry(estimate), "mean": estimate.value, "seeds": seeds}
