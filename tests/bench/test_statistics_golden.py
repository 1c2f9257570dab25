"""The statistics against numbers of rliable and statsmodels, made by benchmarks/golden_rliable.py."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fdiv_gym.bench import (
    Resampling,
    aggregate_scores,
    holm,
    minimum_detectable_effect,
    performance_profile,
    probability_of_improvement,
)

GOLDEN = json.loads(Path(__file__).with_name("golden_rliable.json").read_text(encoding="utf-8"))
MATRICES = {name: np.array(rows) for name, rows in GOLDEN["matrices"].items()}
HOW = Resampling(draws=20_000)


def agrees(value, low, high, expected, step=0.0):
    """Point estimates to 1e-12; ends of intervals within eight Monte Carlo errors and a step of the statistic."""
    assert value == pytest.approx(expected["value"], abs=1e-12)
    for end, name in ((low, "low"), (high, "high")):
        allowed = 8.0 * np.array(expected[f"{name}_error"]) + step + 1e-12
        assert np.all(np.abs(np.array(end) - np.array(expected[name])) <= allowed), name


@pytest.mark.parametrize("name", MATRICES)
def test_aggregates(name):
    one, two = (aggregate_scores(MATRICES[name], gamma, HOW) for gamma in GOLDEN["gammas"])
    found = [one["iqm"], one["mean"], one["median"], one["optimality_gap"], two["optimality_gap"]]
    ends = [[getattr(e, end) for e in found] for end in ("value", "low", "high")]
    agrees(*ends, GOLDEN["aggregates"][name])


@pytest.mark.parametrize("of", ["runs", "averages"])
@pytest.mark.parametrize("name", MATRICES)
def test_profiles(name, of):
    scores = MATRICES[name]
    found = performance_profile(scores, GOLDEN["taus"], of, HOW)
    step = 1.0 / (scores.size if of == "runs" else scores.shape[1])
    agrees(found.share, found.low, found.high, GOLDEN["profiles"][of][name], step)


@pytest.mark.parametrize("case", GOLDEN["improvement"], ids=lambda case: f"{case['first']} {case['second']}")
def test_probability_of_improvement(case):
    found = probability_of_improvement(MATRICES[case["first"]], MATRICES[case["second"]], HOW)
    if case["first"] == case["second"]:
        assert found.value == 0.5
    agrees([found.value], [found.low], [found.high], case)


def test_an_unstratified_or_narrower_interval_would_be_found():
    scores = MATRICES["five by four"]
    found = [aggregate_scores(scores, g, Resampling(level=0.9, draws=20_000)) for g in GOLDEN["gammas"]]
    estimates = [*found[0].values(), found[1]["optimality_gap"]]
    ends = [[getattr(e, end) for e in estimates] for end in ("value", "low", "high")]
    with pytest.raises(AssertionError, match="low"):
        agrees(*ends, GOLDEN["aggregates"]["five by four"])


def test_holm():
    assert holm(GOLDEN["holm"]["p_values"]) == pytest.approx(GOLDEN["holm"]["adjusted"], abs=1e-12)


@pytest.mark.parametrize("case", GOLDEN["paired_t_power"], ids=lambda case: f"{case['seeds']} {case['alpha']:.4f}")
def test_the_minimum_detectable_effect(case):
    comparisons = round(0.05 / case["alpha"])
    found = minimum_detectable_effect(1.0 / math.sqrt(case["seeds"]), case["seeds"] - 1, comparisons)
    assert found == pytest.approx(case["effect"], rel=1e-6)
