"""Every number of every table of a comparison, from its records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fdiv_gym.bench.matrix import Matrix
from fdiv_gym.bench.numbers import plain
from fdiv_gym.bench.record import Record
from fdiv_gym.bench.resampling import DEFAULT, Resampling
from fdiv_gym.bench.results import METRIC, Results, View, ranges_of
from fdiv_gym.bench.tables_of_controls import noise_floor, random_reward, tuning_table, updates
from fdiv_gym.bench.tables_of_drift import drift, true_scores
from fdiv_gym.bench.tables_of_pairs import median_detectable, pairs
from fdiv_gym.bench.tables_of_policies import ESTIMATOR, policies, sharpening
from fdiv_gym.bench.tables_of_scores import curves, heatmap, leaderboard, profiles, targets, without_gain
from fdiv_gym.divergences import Divergence, get_divergence
from fdiv_gym.registry.lookup import list_entries

Sweep = Mapping[str, Any]


def tables_of(
    matrix: Matrix,
    records: Mapping[str, Record],
    tuning: Mapping[str, Any] | None = None,
    untrained: Sequence[Sweep] | None = None,
    after: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    score_ranges: Mapping[str, tuple[float, float]] | None = None,
    how: Resampling = DEFAULT,
) -> dict[str, Any]:
    """The tables of a comparison; the same input gives the same numbers.

    An environment with a cell without a score counts in no aggregate of any objective; it is named in ``left_out``, the
    cell in ``missing``. Scores are normalised by the environments' ranges. A number that does not exist is None, and
    the ``note`` beside it says why.

    Args:
        matrix: of which only labels, seeds, updates, budget and, without ``score_ranges``, environments are read.
        records: by the folder of the cell, relative to that of the bench: ``cells/<id>``, ``controls/<id>``,
            ``tuning/<id>``. Records of tuning count only in ``missing``.
        tuning: ``tuning.json``.
        untrained: the files ``untrained.json``.
        after: ``after.json`` by the folder of the cell, as in ``records``.
        score_ranges: the lowest and highest score by the label of the environment; by default the environments' own.
        how: draws, level and seed of the intervals.

    Returns:
        What ``tables.json`` holds; see docs/reference/bench.md.

    Raises:
        BenchError: a record is of no cell of the matrix or contradicts its name, or an ``after`` does not fit its
            record.
        ConfigError: an environment of the matrix is unknown.
    """
    results = Results(matrix, records, dict(score_ranges) if score_ranges is not None else ranges_of(matrix))
    sweeps, known = list(untrained or ()), _divergences() if after else {}
    comparisons = [_comparison(view, sweeps, after or {}, known, how) for view in results.views()]
    tables = {
        "name": matrix.name,
        "metric": METRIC,
        "objectives": [each.label for each in matrix.objectives],
        "environments": [each.label for each in matrix.environments],
        "models": [each.label for each in matrix.all_models],
        "seeds": list(matrix.seeds),
        "updates": list(dict.fromkeys(comparison["updates"] for comparison in comparisons)),
        "budget": {"kind": matrix.budget.kind, "limit": matrix.budget.limit},
        "score_range": dict(results.ranges),
        "resampling": {"draws": how.draws, "level": how.level, "seed": how.seed},
        "missing": results.missing(),
        "comparisons": comparisons,
        "controls": {
            "untrained": sweeps,
            "random_reward": random_reward(results, how),
            "noise_floor": noise_floor(results),
            "updates": updates(results, how),
            "after": comparisons[0]["after"],
            "true_score": comparisons[0]["true_score"],
            "estimator": ESTIMATOR,
        },
        "tuning": tuning_table(results, tuning) if tuning else None,
    }
    found: dict[str, Any] = plain(tables)
    return found


def _comparison(
    view: View,
    sweeps: Sequence[Sweep],
    after: Mapping[str, Mapping[str, Any]],
    divergences: Mapping[str, Divergence],
    how: Resampling,
) -> dict[str, Any]:
    """The tables of one model and one way to use a rollout."""
    complete = view.complete
    paired = pairs(view, how)
    return {
        "model": view.model,
        "updates": view.updates,
        "environments": complete,
        "left_out": [environment for environment in view.environments if environment not in complete],
        "without_gain": without_gain(view),
        "untrained": {environment: view.untrained(environment) for environment in view.environments},
        "targets": targets(view),
        "leaderboard": leaderboard(view, how),
        "heatmap": heatmap(view),
        "curves": curves(view),
        "profiles": profiles(view, how),
        "pairs": paired,
        "minimum_detectable_effect": median_detectable(paired),
        "after": policies(view, after, sweeps, divergences),
        "sharpening": sharpening(view, sweeps, how),
        "drift": drift(view, how),
        "true_score": true_scores(view, how),
    }


def _divergences() -> dict[str, Divergence]:
    """Every registered divergence that can be used, with its default options."""
    return {entry.name: get_divergence(entry.name) for entry in list_entries("divergence") if entry.status == "ok"}
