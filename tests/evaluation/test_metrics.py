import itertools
import math

import numpy as np
import pytest

from fdiv_gym.evaluation.metrics import Metric, Sample, default_ks, majority_at_k, pass_at_k, summarise, task_values


def all_subsets(items, k, value):
    return np.mean([value(subset) for subset in itertools.combinations(items, k)])


@pytest.mark.parametrize("n", [1, 4, 7])
def test_pass_at_k_is_the_mean_over_all_subsets(n):
    for correct in range(n + 1):
        outcomes = [True] * correct + [False] * (n - correct)
        for k in range(1, n + 1):
            assert pass_at_k(n, correct, k) == pytest.approx(all_subsets(outcomes, k, any))


def test_pass_at_k_is_unbiased():
    rng = np.random.default_rng(0)
    p, n, k = 0.3, 10, 4
    estimates = [pass_at_k(n, int(c), k) for c in rng.binomial(n, p, size=20_000)]
    assert np.mean(estimates) == pytest.approx(1 - (1 - p) ** k, abs=0.005)


def test_pass_at_k_of_many_responses_does_not_overflow():
    assert pass_at_k(10_000, 1, 100) == pytest.approx(0.01)


@pytest.mark.parametrize(("n", "k"), [(3, 0), (3, 4)])
def test_k_must_fit(n, k):
    with pytest.raises(ValueError, match="k must be"):
        pass_at_k(n, 1, k)
    with pytest.raises(ValueError, match="k must be"):
        majority_at_k([Sample(1.0, "a")] * n, k, 0.0)


def test_the_majority_answer_is_scored():
    samples = [Sample(1.0, "7"), Sample(1.0, "7"), Sample(0.0, "8"), Sample(0.0, None), Sample(0.0, None)]
    assert majority_at_k(samples, 5, 0.0) == 1.0
    # Of the ten pairs: 7 and 7, or 7 alone beside no vote (2 x 2), win; 7 against 8 (2) is half a win.
    assert majority_at_k(samples, 2, 0.0) == pytest.approx((1 + 4 + 0.5 * 2) / 10)


def test_the_majority_may_be_wrong():
    samples = [Sample(0.0, "8")] * 3 + [Sample(1.0, "7")] * 2
    assert majority_at_k(samples, 5, 0.0) == 0.0
    assert majority_at_k(samples, 1, 0.0) == pytest.approx(0.4)


def test_without_votes_the_score_is_the_floor():
    assert majority_at_k([Sample(-1.0, None)] * 3, 2, -1.0) == -1.0


def test_many_subsets_are_drawn_at_random_with_a_fixed_seed():
    samples = [Sample(1.0, "7")] * 9 + [Sample(0.0, "8")] * 11
    value = majority_at_k(samples, 10, 0.0)
    assert value == majority_at_k(samples, 10, 0.0)
    # Hypergeometric: the right answer has more than half of ten, plus half of the ties.
    chance = [math.comb(9, i) * math.comb(11, 10 - i) / math.comb(20, 10) for i in range(10)]
    assert value == pytest.approx(sum(chance[6:]) + chance[5] / 2, abs=0.08)


def test_values_of_tasks():
    tasks = [
        [Sample(1.0, "a"), Sample(0.0, "b"), Sample(1.0, "a")],
        [Sample(None, "a"), Sample(0.0, "b"), Sample(0.5, "c")],
        [Sample(None, None)] * 3,
    ]
    values = task_values(tasks, [1, 3], threshold=1.0, floor=0.0)
    assert list(values) == ["pass@1", "pass@3", "avg@3", "maj@3"]
    np.testing.assert_allclose(values["pass@1"], [2 / 3, 0.0, math.nan])
    np.testing.assert_allclose(values["pass@3"], [1.0, math.nan, math.nan])
    np.testing.assert_allclose(values["avg@3"], [2 / 3, 0.25, math.nan])
    np.testing.assert_allclose(values["maj@3"], [1.0, math.nan, math.nan])


def test_without_any_vote_there_is_no_majority():
    silent = [[Sample(1.0, None)] * 2, [Sample(0.0, None)] * 2]
    assert list(task_values(silent, [1, 2], 1.0, 0.0)) == ["pass@1", "pass@2", "avg@2"]
    some = [[Sample(1.0, "a"), Sample(0.0, None)], [Sample(0.5, None)] * 2]
    np.testing.assert_allclose(task_values(some, [1, 2], 1.0, 0.0)["maj@2"], [1.0, 0.0])


def test_the_interval_covers_the_true_value():
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(100):
        metric = summarise((rng.random(80) < 0.4).astype(float), seed)
        hits += metric.low <= 0.4 <= metric.high
    assert hits >= 88


def test_the_interval_is_that_of_the_normal_law_for_many_tasks():
    values = np.random.default_rng(2).normal(size=4_000)
    metric = summarise(values)
    assert metric.tasks == 4_000
    assert metric.value == pytest.approx(values.mean())
    assert metric.high - metric.low == pytest.approx(2 * 1.96 / math.sqrt(4_000), rel=0.08)


def test_unknown_values_are_nan_and_null_in_json():
    metric = summarise(np.array([math.nan, math.nan]))
    assert metric.tasks == 0
    assert metric.to_dict() == {"value": None, "low": None, "high": None, "tasks": 0}
    assert Metric(0.5, 0.4, 0.6, 3).to_dict() == {"value": 0.5, "low": 0.4, "high": 0.6, "tasks": 3}


def test_default_ks():
    assert default_ks(1) == [1]
    assert default_ks(6) == [1, 2, 4, 6]
    assert default_ks(8) == [1, 2, 4, 8]
