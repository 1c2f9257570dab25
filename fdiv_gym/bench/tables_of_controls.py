"""The tables of the controls: random reward, noise floor, updates per rollout, and of the tuning."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from fdiv_gym.bench.comparing import paired_difference
from fdiv_gym.bench.numbers import entry, mean_over_seeds
from fdiv_gym.bench.record import Record
from fdiv_gym.bench.resampling import DEFAULT, Resampling
from fdiv_gym.bench.results import METRIC, Results, final_score, reason
from fdiv_gym.bench.tables_of_pairs import OF_SCORES, judged

RANDOM_REWARD, AGAIN, OTHER_UPDATES = "random-reward", "again", "other-updates"
"""Suffixes of the ids of control cells."""


def random_reward(results: Results, how: Resampling = DEFAULT) -> list[dict[str, Any]]:
    """The final score after training on a drawn reward minus that before training, paired by seed.

    A difference that is not inconclusive means that something else than the reward moves the score.
    """
    groups: dict[tuple[str, str, str, int], list[Record]] = defaultdict(list)
    for record in results.controls(RANDOM_REWARD).values():
        first = record.curve.get(METRIC, [None])[0]
        if not reason(record) and first is not None and record.curve["step"][0] == 0:
            groups[_place(record)].append(record)
    found, differences = [], []
    for place, records in groups.items():
        environment = place[1]
        end = _normalised(results, environment, [final_score(record) for record in records])[:, None]
        start = _normalised(results, environment, [record.curve[METRIC][0] for record in records])[:, None]
        differences.append(paired_difference(end, start, how))
        row = _named(place) | {"seeds": [record.seed for record in records]}
        found.append({**row, "trained": entry(mean_over_seeds(end[:, 0])), "untrained": float(start.mean())})
    return [{**row, **rest} for row, rest in zip(found, judged(differences, OF_SCORES), strict=True)]


def noise_floor(results: Results) -> list[dict[str, Any]]:
    """The same configuration and seed twice: the difference of the scores, and the share of responses that differ.

    A difference of two objectives that is smaller than this is no difference of the objectives.
    """
    found = []
    for name, again in results.controls(AGAIN).items():
        original = results.records.get("cells/" + name.partition("/")[2].removesuffix(f"--{AGAIN}"))
        if original is None or reason(original) or reason(again):
            continue
        scores = _normalised(results, again.environment, [final_score(original), final_score(again)])
        row = _named(_place(again)) | {"seed": again.seed, "original": scores[0], "again": scores[1]}
        row |= {"difference": scores[1] - scores[0], "changed_responses": _changed(original, again)}
        found.append({**row, "same_configuration": original.key == again.key})
    return found


def updates(results: Results, how: Resampling = DEFAULT) -> list[dict[str, Any]]:
    """Each objective with one way to use a rollout minus another, over the environments that are complete in both.

    Where the matrix has one way only, the control objective on the seeds of its control runs.
    """
    views: dict[str, list[Any]] = defaultdict(list)
    for view in results.views():
        views[view.model].append(view)
    found, differences = [], []
    for model, of_model in views.items():
        for first, second in combinations(of_model, 2):
            both = [environment for environment in first.complete if environment in second.complete]
            for objective in first.objectives if both else ():
                a, b = first.matrix_of(objective, both), second.matrix_of(objective, both)
                differences.append(paired_difference(a, b, how))
                row = {"objective": objective, "model": model, "a": first.updates, "b": second.updates}
                found.append({**row, "environments": both, "means": [float(a.mean()), float(b.mean())]})
    for row, a, b in _updates_of_controls(results):
        differences.append(paired_difference(a, b, how))
        found.append({**row, "means": [float(a.mean()), float(b.mean())]})
    return [{**row, **rest} for row, rest in zip(found, judged(differences, OF_SCORES), strict=True)]


def _updates_of_controls(results: Results) -> list[tuple[dict[str, Any], Any, Any]]:
    """The rows of the control runs, with the scores [seeds, environments] of the table's cells and of the control's."""
    pairs: dict[tuple[str, str, int, int], dict[str, dict[int, tuple[float, float]]]] = {}
    for name, other in results.controls(OTHER_UPDATES).items():
        own = results.records.get("cells/" + name.partition("/")[2].removesuffix(f"--{OTHER_UPDATES}"))
        if own is None:
            continue
        ends = [math.nan if reason(record) else final_score(record) for record in (own, other)]
        first, second = _normalised(results, other.environment, ends)
        place = (other.objective, other.model, own.updates, other.updates)
        pairs.setdefault(place, {}).setdefault(other.environment, {})[other.seed] = (first, second)
    found = []
    for (objective, model, a, b), environments in pairs.items():
        seeds = sorted({seed for scores in environments.values() for seed in scores})
        missing = (math.nan, math.nan)
        scores = np.array([[each.get(seed, missing) for each in environments.values()] for seed in seeds])
        complete = ~np.isnan(scores).any(axis=(0, 2))  # by environment
        if complete.any():
            names = [name for name, is_kept in zip(environments, complete, strict=True) if is_kept]
            row = {"objective": objective, "model": model, "a": a, "b": b, "environments": names}
            found.append((row, scores[:, complete, 0], scores[:, complete, 1]))
    return found


def tuning_table(results: Results, tuning: Mapping[str, Any]) -> dict[str, Any]:
    """What was tried for each objective: the mean of the metric, normalised by the environments' ranges of scores."""
    trials: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for trial in tuning.get("trials", ()):
        trials[trial["objective"], trial["trial"]].append(trial)
    chosen, rows = tuning.get("chosen", {}), []
    for (objective, number), cells in trials.items():
        values = [_tuned(results, tuning.get("metric", METRIC), cell) for cell in cells]
        complete = not any(math.isnan(value) for value in values)
        options = cells[0]["options"]
        row = {"objective": objective, "trial": number, "options": options, "cells": len(values)}
        row |= {"value": float(np.mean(values)) if complete else None}
        row |= {"failed": sum(math.isnan(value) for value in values)}
        is_chosen = json.dumps(chosen.get(objective), sort_keys=True) == json.dumps(options, sort_keys=True)
        rows.append({**row, "chosen": is_chosen})  # 1, 1.0 and true are different values
    kept = {name: tuning.get(name) for name in ("method", "metric", "values", "chosen", "at_edge")}
    return {**kept, "rows": rows}


def _tuned(results: Results, metric: str, cell: Mapping[str, Any]) -> float:
    if cell["value"] is None:
        return math.nan
    if not metric.startswith("score/"):
        return float(cell["value"])
    return float(_normalised(results, cell["environment"], [cell["value"]])[0])


def _place(record: Record) -> tuple[str, str, str, int]:
    return record.objective, record.environment, record.model, record.updates


def _named(place: tuple[str, str, str, int]) -> dict[str, Any]:
    return dict(zip(("objective", "environment", "model", "updates"), place, strict=True))


def _normalised(results: Results, environment: str, scores: list[Any]) -> Any:
    low, high = results.ranges[environment]
    return (np.array(scores, dtype=np.float64) - low) / (high - low)


def _changed(original: Record, again: Record) -> float | None:
    """The share of the last evaluation's responses whose score differs; None if the tasks differ."""
    if original.tasks.keys() != again.tasks.keys() or not original.tasks:
        return None
    pairs = [pair for task, scores in original.tasks.items() for pair in zip(scores, again.tasks[task], strict=False)]
    return sum(a != b for a, b in pairs) / len(pairs)
