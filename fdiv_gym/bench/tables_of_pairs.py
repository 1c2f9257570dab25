"""Objectives against each other: paired differences, their verdicts after Holm's correction, detectable effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from fdiv_gym.bench.comparing import (
    Difference,
    Finding,
    holm,
    minimum_detectable_effect,
    paired_difference,
    probability_of_improvement,
    verdicts,
)
from fdiv_gym.bench.numbers import entry
from fdiv_gym.bench.resampling import DEFAULT, Resampling, Values
from fdiv_gym.bench.results import View

OF_SCORES: Mapping[Finding, str] = {"higher": "better", "lower": "worse", "inconclusive": "inconclusive"}
OF_QUANTITIES: Mapping[Finding, str] = {name: name for name in ("higher", "lower", "inconclusive")}


def pairs(view: View, how: Resampling = DEFAULT) -> list[dict[str, Any]]:
    """Every two objectives, over the complete environments; empty without such an environment."""
    complete = view.complete
    if not complete:
        return []
    by_seed = {o: view.matrix_of(o, complete) for o in view.objectives}
    by_prompt = _by_prompt(view, complete)
    paired = by_seed if by_prompt is None else by_prompt
    both = list(combinations(view.objectives, 2))
    judgements = judged([paired_difference(paired[a], paired[b], how) for a, b in both], OF_SCORES)
    found = []
    for (a, b), judgement in zip(both, judgements, strict=True):
        improvement = probability_of_improvement(by_seed[a], by_seed[b], how)
        unit = "seeds" if by_prompt is None else "seeds and prompts"
        found.append({"a": a, "b": b, "paired_by": unit, "probability_of_improvement": entry(improvement)} | judgement)
    return found


def judged(differences: Sequence[Difference], words: Mapping[Finding, str]) -> list[dict[str, Any]]:
    """What a family of comparisons shows, for the tables.

    Args:
        differences: all comparisons that are read together.
        words: the words of the verdicts.

    Returns:
        ``difference``, ``p``, ``p_holm``, ``verdict`` and ``minimum_detectable_effect`` of each.
    """
    if not differences:
        return []
    adjusted = holm([1.0 if d.p_value is None else d.p_value for d in differences])
    return [
        {
            "difference": entry(difference.estimate),
            "p": difference.p_value,
            "p_holm": None if difference.p_value is None else float(p),
            "verdict": words[verdict],
            "minimum_detectable_effect": detectable(difference, len(differences)),
        }
        for difference, p, verdict in zip(differences, adjusted, verdicts(differences), strict=True)
    ]


def detectable(difference: Difference, family: int) -> float | None:
    """The true difference that such a comparison finds with probability 0.8; None without a standard error."""
    if difference.standard_error is None or difference.freedom is None:
        return None
    return minimum_detectable_effect(difference.standard_error, difference.freedom, family)


def median_detectable(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """The median over comparisons of their minimum detectable effects; None if none has one."""
    known = [row["minimum_detectable_effect"] for row in rows if row["minimum_detectable_effect"] is not None]
    return float(np.median(known)) if known else None


def _by_prompt(view: View, environments: Sequence[str]) -> dict[str, dict[str, Values]] | None:
    """The normalised mean score [seeds, prompts] of each objective by environment.

    None if a response has no score, or the cells of an environment were not evaluated on the same tasks: then the mean
    over prompts would not be the final score, or prompts could not be paired.
    """
    found: dict[str, dict[str, Values]] = {objective: {} for objective in view.objectives}
    for environment in environments:
        groups = {objective: view.group(objective, environment) or [] for objective in view.objectives}
        records = [record for group in groups.values() for record in group]
        tasks = sorted(records[0].tasks)
        if not tasks or any(sorted(record.tasks) != tasks for record in records):
            return None
        if any(score is None for record in records for scores in record.tasks.values() for score in scores):
            return None
        for objective, group in groups.items():
            means = [[np.mean(np.array(record.tasks[task], dtype=np.float64)) for task in tasks] for record in group]
            found[objective][environment] = view.normalised(environment, means)
    return found
