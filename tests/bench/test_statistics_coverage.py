"""Simulated coverage of the intervals, and errors of the verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from fdiv_gym.bench import (
    Resampling,
    aggregate_scores,
    minimum_detectable_effect,
    paired_difference,
    verdicts,
)

pytestmark = pytest.mark.slow
REPEATS = 400
"""A coverage of 95 % has a standard error of 1.1 %."""


def covered(estimate, truth: float) -> float:
    held = [
        e.low <= truth <= e.high for e in (estimate(np.random.RandomState(i), Resampling(400)) for i in range(REPEATS))
    ]
    return float(np.mean(held))


@pytest.mark.parametrize(("seeds", "environments"), [(2, 1), (3, 1), (5, 1), (2, 4), (5, 4)])
def test_paired_differences_cover(seeds, environments):
    def estimate(random, how):
        shared = random.normal(0.5, 0.2, (seeds, environments))
        first, second = (shared + random.normal(0, 0.1, shared.shape) for _ in range(2))
        return paired_difference(first + 0.1, second, how).estimate

    assert covered(estimate, 0.1) >= 0.92


@pytest.mark.parametrize(("of_seeds", "of_prompts", "noise"), [(0.05, 0.2, 0.5), (0.0, 0.5, 0.1), (0.05, 0.0, 0.1)])
def test_seeds_by_prompts_cover(of_seeds, of_prompts, noise):
    def estimate(random, how):
        d = of_seeds * random.normal(size=(5, 1, 1)) + of_prompts * random.normal(size=(1, 1, 50))
        d = 0.1 + d + noise * random.normal(size=(5, 1, 50))
        return paired_difference(d, np.zeros_like(d), how).estimate

    assert covered(estimate, 0.1) >= 0.92


def test_percentile_intervals_of_aggregates_are_too_narrow_as_documented():
    def estimate(seeds, environments):
        return lambda random, how: aggregate_scores(random.normal(0.5, 0.1, (seeds, environments)), how=how)["mean"]

    assert covered(estimate(5, 1), 0.5) == pytest.approx(0.84, abs=0.06)
    assert covered(estimate(10, 4), 0.5) == pytest.approx(0.93, abs=0.04)


def test_the_minimum_detectable_effect_is_detected_as_often_as_it_says():
    # Ten comparisons of which one differs by the effect; the others are inconclusive, so Holm's level is the smallest.
    seeds, deviation = 5, 0.1
    effect = minimum_detectable_effect(deviation / np.sqrt(seeds), seeds - 1, comparisons=10)
    none = paired_difference(np.ones((5, 1)), np.ones((5, 1)))
    found = 0
    for i in range(REPEATS):
        d = np.random.RandomState(i).normal(effect, deviation, (seeds, 1))
        found += verdicts([paired_difference(d, np.zeros_like(d), Resampling(2_000)), *[none] * 9])[0] == "higher"
    assert found / REPEATS == pytest.approx(0.8, abs=0.06)
