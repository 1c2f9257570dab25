"""Aggregates, comparisons and curves of the bench: values by hand and by scipy, and what must be refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from fdiv_gym.bench import (
    Difference,
    Estimate,
    Resampling,
    aggregate_scores,
    area_under_curve,
    budget_to_target,
    holm,
    interquartile_mean,
    median_to_target,
    minimum_detectable_effect,
    optimality_gap,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    require_complete,
    verdicts,
    without_environments,
)
from fdiv_gym.bench.aggregates import mean, median
from fdiv_gym.errors import BenchError

FEW = Resampling(draws=400)
SCORES = np.array([[0.0, 0.5], [0.2, 0.9], [0.4, 1.2], [1.0, 0.6]])
"""Four seeds, two environments, with the means 0.4 and 0.8."""

matrices = arrays(
    np.float64, st.tuples(st.integers(2, 6), st.integers(1, 4)), elements=st.integers(0, 1000).map(lambda i: i / 1000)
)


def test_aggregates_by_hand():
    # Sorted: 0, .2, .4, .5, .6, .9, 1, 1.2; the middle four are .4, .5, .6, .9.
    found = {name: e.value for name, e in aggregate_scores(SCORES, how=FEW).items()}
    assert found == pytest.approx({"iqm": 0.6, "mean": 0.6, "median": 0.6, "optimality_gap": 1 - 4.6 / 8}, abs=1e-12)
    assert aggregate_scores(SCORES, 0.5, FEW)["optimality_gap"].value == pytest.approx(0.5 - 3.1 / 8, abs=1e-12)


@given(matrices)
@settings(max_examples=50, deadline=None)
def test_the_interquartile_mean_is_that_of_scipy(scores):
    assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None), abs=1e-12)


@pytest.mark.parametrize("statistic", [interquartile_mean, mean, median])
@given(scores=matrices, shift=st.floats(-1, 1), data=st.data())
@settings(max_examples=50, deadline=None)
def test_shift_order_and_monotonicity(statistic, scores, shift, data):
    value = statistic(scores)
    assert statistic(scores + shift) == pytest.approx(value + shift, abs=1e-9)
    order = data.draw(st.permutations(range(len(scores))))
    assert statistic(scores[order]) == pytest.approx(value, abs=1e-12)
    row = data.draw(st.integers(0, len(scores) - 1))
    raised = scores.copy()
    raised[row] += 0.3
    assert statistic(raised) >= value - 1e-12
    assert optimality_gap(raised) <= optimality_gap(scores) + 1e-12


def test_the_interval_of_a_mean_is_that_of_scipy():
    scores = np.random.RandomState(1).beta(2, 3, size=(9, 1))
    ours = aggregate_scores(scores, how=Resampling(draws=20_000))["mean"]
    theirs = stats.bootstrap(
        (scores[:, 0],), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_bootstrap_is_stratified_by_environment():
    # Within an environment all seeds agree: any draw within it is the same, a draw across them is not.
    scores = np.array([[0.1, 0.9], [0.1, 0.9], [0.1, 0.9]])
    found = aggregate_scores(scores, how=FEW)["mean"]
    assert (found.low, found.value, found.high) == pytest.approx((0.5, 0.5, 0.5), abs=1e-12)


def test_environments_are_drawn_independently():
    # Rows drawn as a whole would have the mean 0.5 in every draw.
    scores = np.array([[0.0, 1.0], [1.0, 0.0]])
    found = aggregate_scores(scores, how=FEW)["mean"]
    assert (found.low, found.high) == (0.0, 1.0)


def test_profiles_by_hand():
    profile = performance_profile(SCORES, [0.0, 0.5, 0.9], how=FEW)
    assert profile.share.tolist() == [7 / 8, 4 / 8, 2 / 8]  # strictly above
    assert performance_profile(SCORES, [0.3, 0.5, 0.9], "averages", FEW).share.tolist() == [1.0, 0.5, 0.0]
    assert profile.low is not None
    assert profile.high is not None
    assert np.all(profile.low <= profile.share)
    assert np.all(profile.share <= profile.high)
    assert np.all(np.diff(profile.share) <= 0)


def test_one_environment_is_its_paired_t_test():
    random = np.random.RandomState(3)
    x, y = random.normal(0.6, 0.1, (6, 1)), random.normal(0.5, 0.1, (6, 1))
    found = paired_difference(x, y, Resampling(draws=100_000))
    test = stats.ttest_rel(x[:, 0], y[:, 0])
    interval = test.confidence_interval()
    assert found.freedom == pytest.approx(5)
    assert found.standard_error == pytest.approx(np.std(x - y, ddof=1) / math.sqrt(6), rel=0.01)
    assert found.p_value == pytest.approx(test.pvalue, rel=0.05)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((interval.low, interval.high), abs=2e-3)


def test_several_environments_have_satterthwaites_degrees_of_freedom():
    # One environment is Welch's test of the other with the sign turned: the same variances and degrees of freedom.
    random = np.random.RandomState(4)
    d = random.normal(0, [0.1, 0.4], (7, 2))
    found = paired_difference(d, np.zeros_like(d), Resampling(draws=100_000))
    welch = stats.ttest_ind(d[:, 0], -d[:, 1], equal_var=False)
    assert found.freedom == pytest.approx(welch.df, rel=1e-9)
    assert found.p_value == pytest.approx(welch.pvalue, rel=0.05)


def test_two_seeds_have_one_degree_of_freedom():
    for seed in range(50):  # rounding below 1 would be refused by the minimum detectable effect
        found = paired_difference(np.random.RandomState(seed).random((2, 1)), np.zeros((2, 1)), FEW)
        assert found.freedom == pytest.approx(1.0, abs=1e-12)
        assert found.standard_error is not None
        assert found.freedom is not None
        assert found.freedom >= 1.0
        assert minimum_detectable_effect(found.standard_error, found.freedom) > 10 * found.standard_error


def test_variation_of_single_responses_alone():
    # The means of seeds and of prompts are all 0; those of draws are not.
    d = np.array([[[1.0, -1.0]], [[-1.0, 1.0]]])
    found = paired_difference(d, np.zeros_like(d), FEW)
    assert (found.estimate.value, found.freedom, found.standard_error) == (0.0, 1.0, pytest.approx(1.0, rel=0.1))


def test_pairing_removes_what_seeds_and_prompts_share():
    random = np.random.RandomState(5)
    shared = random.normal(size=(5, 1, 40)) + random.normal(size=(5, 1, 1))
    d = 0.1 + 0.001 * random.normal(size=(5, 1, 40))
    found = paired_difference(shared + d, shared, FEW)
    assert found.standard_error is not None
    assert found.standard_error < 0.001
    unpaired = paired_difference(shared[::-1] + d, shared, FEW)  # planted: seeds in another order
    assert unpaired.standard_error is not None
    assert unpaired.standard_error > 100 * found.standard_error


def test_prompts_are_drawn_too():
    # The same difference in every seed; it varies between prompts alone: its standard error is s/sqrt(prompts).
    by_prompt = np.random.RandomState(6).normal(size=30)
    d = np.broadcast_to(by_prompt, (4, 1, 30))
    found = paired_difference(d, np.zeros_like(d), Resampling(draws=50_000))
    assert found.standard_error == pytest.approx(by_prompt.std(ddof=1) / math.sqrt(30), rel=0.02)
    assert found.freedom == pytest.approx(29)


def test_environments_may_have_different_numbers_of_prompts():
    random = np.random.RandomState(7)
    first = {"sums": random.random((3, 8)), "words": random.random((3, 5))}
    second = {"sums": random.random((3, 8)), "words": random.random((3, 5))}
    value = np.mean([(first[name] - second[name]).mean() for name in first])
    assert paired_difference(first, second, FEW).estimate.value == pytest.approx(value, abs=1e-12)
    with pytest.raises(BenchError, match="same environments, seeds and prompts"):
        paired_difference(first, {"sums": second["sums"], "other": second["words"]}, FEW)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_difference_turns_its_sign(swapped):
    x, y = SCORES[:, :1] + 5, np.random.RandomState(8).random((4, 1))
    found = paired_difference(*((y, x) if swapped else (x, y)), FEW)
    assert verdicts([found]) == ["lower" if swapped else "higher"]


def test_probability_of_improvement_by_hand():
    x, y = np.array([[1.0, 0.5], [0.0, 0.5]]), np.array([[0.5, 0.5], [0.0, 0.5], [2.0, 0.4]])
    # First environment: 1 beats .5 and 0; 0 ties with 0: 2.5 of 6. Second: two ties and a win for each: 4 of 6.
    assert probability_of_improvement(x, y, FEW).value == pytest.approx((2.5 + 4) / 12, abs=1e-12)
    assert probability_of_improvement(x, x, FEW).value == 0.5


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_probability_of_improvement_is_mann_whitneys(data):
    shape = (5, 2)
    x, y = (data.draw(arrays(np.float64, shape, elements=st.integers(0, 4).map(float))) for _ in range(2))
    few = Resampling(draws=2)
    found = probability_of_improvement(x, y, few).value
    reference = np.mean([stats.mannwhitneyu(x[:, e], y[:, e], method="asymptotic").statistic / 25 for e in range(2)])
    assert found == pytest.approx(reference, abs=1e-12)
    assert found + probability_of_improvement(y, x, few).value == pytest.approx(1.0, abs=1e-12)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_holm_lies_between_none_and_bonferroni(p):
    adjusted = holm(p)
    assert np.all(adjusted >= np.array(p))
    assert np.all(adjusted <= np.minimum(1.0, np.array(p) * len(p)) + 1e-15)
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)


def difference(p: float | None, low: float | None = 0.1) -> Difference:
    known = p is not None and low is not None
    estimate = Estimate(0.2, low, 0.3, 5) if known else Estimate(0.2, None, None, 1, "one seed: no interval")
    return Difference(estimate, 0.05 if known else None, 4.0 if known else None, p)


def test_verdicts_are_corrected_for_their_family():
    assert verdicts([difference(0.03)]) == ["higher"]
    assert verdicts([difference(0.03), difference(0.04)]) == ["inconclusive"] * 2
    assert verdicts([difference(0.03), difference(None)]) == ["inconclusive"] * 2  # what is not known counts
    assert verdicts([difference(0.001), difference(0.04)]) == ["higher", "higher"]
    assert verdicts([difference(0.03, low=-0.1)]) == ["inconclusive"]  # an interval of a higher level holds 0
    assert verdicts([]) == []


def test_no_verdict_without_an_interval():
    one = paired_difference([[1.0, 1.0]], [[0.0, 0.0]])
    assert (one.estimate.value, one.estimate.low, one.estimate.note) == (1.0, None, "one seed: no interval")
    equal = paired_difference(np.full((5, 2), 0.3), np.full((5, 2), 0.1))  # as if one run were counted five times
    assert equal.estimate.low is None
    assert "no spread" in equal.estimate.note
    same = paired_difference(SCORES, SCORES)
    assert verdicts([one, equal, same]) == ["inconclusive"] * 3
    for found in aggregate_scores([[0.5, 0.7]]).values():
        assert (found.low, found.high, found.note) == (None, None, "one seed: no interval")
    assert performance_profile([[0.5]], [0.1]).low is None
    assert probability_of_improvement([[1.0]], [[0.0], [0.5]]).low is None
    assert aggregate_scores([[0.5]])["mean"].to_dict()["low"] is None


@pytest.mark.parametrize(("freedom", "comparisons"), [(1, 1), (1, 190), (4, 1), (4, 28), (7.3, 5), (40, 190)])
def test_the_minimum_detectable_effect_is_found_with_its_power(freedom, comparisons):
    effect = minimum_detectable_effect(0.02, freedom, comparisons) / 0.02
    critical = stats.t.isf(0.025 / comparisons, freedom)

    def found(s):  # T = (Z + effect)/s, where s² is chi-square over its degrees of freedom
        density = 2 * s * freedom * stats.chi2.pdf(freedom * s * s, freedom)
        return density * (stats.norm.sf(critical * s - effect) + stats.norm.cdf(-critical * s - effect))

    power, _ = integrate.quad(found, 0, 10, points=[effect / critical], limit=500)
    assert power == pytest.approx(0.8, abs=1e-6)


def test_the_normal_approximation_would_promise_too_much():
    normal = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    assert minimum_detectable_effect(1.0, 4) > 1.3 * normal
    assert minimum_detectable_effect(1.0, 1e5) == pytest.approx(normal, rel=1e-3)


def test_area_under_a_curve():
    assert area_under_curve([0, 1, 3], [0.0, 1.0, 0.5]) == pytest.approx((0.5 + 1.5) / 3)
    x, y = np.array([10.0, 25.0, 70.0, 80.0]), np.array([0.1, 0.6, 0.3, 0.9])
    assert area_under_curve(x, y) == pytest.approx(integrate.trapezoid(y, x) / 70)


def test_budget_to_a_target_is_censored():
    assert budget_to_target([0, 100, 200], [0.1, 0.5, 0.4], 0.5) == 100
    assert budget_to_target([0, 100, 200], [0.1, 0.5, 0.4], 0.6) is None
    early, late, never = ([0, 1, 2], [0.0, 1.0, 1.0]), ([0, 1, 2], [0.0, 0.0, 1.0]), ([0, 1, 2], [0.0, 0.0, 0.5])
    found = median_to_target([early, late, never], 0.9)
    assert (found.value, found.reached, found.seeds, found.each) == (2.0, 2, 3, (1.0, 2.0, None))
    assert median_to_target([early, never], 0.9).value is None  # half of the seeds: not the mean of those that did


def test_missing_cells_are_named():
    holed = SCORES.copy()
    holed[2, 1] = math.nan
    for refuse in (
        lambda: aggregate_scores(holed),
        lambda: performance_profile(holed, [0.5]),
        lambda: paired_difference(holed, SCORES),
        lambda: probability_of_improvement(SCORES, holed),
    ):
        with pytest.raises(BenchError, match=r"seeds 2, environments 1.*drop their environments"):
            refuse()
    set_of = {"grpo": SCORES, "f-grpo": holed}
    with pytest.raises(BenchError, match="f-grpo on words, seed 13"):
        require_complete(set_of, ["sums", "words"], [11, 12, 13, 14])
    kept, names = without_environments(set_of, ["sums", "words"], {"words"})
    require_complete(kept, names, [11, 12, 13, 14])
    assert names == ("sums",)
    assert {name: matrix.shape for name, matrix in kept.items()} == {"grpo": (4, 1), "f-grpo": (4, 1)}


def test_many_missing_cells_are_counted():
    with pytest.raises(BenchError, match="and 4 more"):
        aggregate_scores(np.full((5, 2), math.nan))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: aggregate_scores([0.1, 0.2]), r"axes \[seeds, environments\]"),
        (lambda: aggregate_scores(np.zeros((0, 3))), "none of them empty"),
        (lambda: aggregate_scores([[math.inf]]), "no score for seeds 0"),
        (lambda: performance_profile(SCORES, [0.5, 0.5]), "must increase"),
        (lambda: performance_profile(SCORES, [0.5], "seeds"), "'runs' or 'averages'"),
        (lambda: paired_difference(SCORES, SCORES[:3]), "same environments, seeds and prompts"),
        (lambda: paired_difference({}, {}), "no environment"),
        (lambda: paired_difference({"a": SCORES, "b": SCORES[:3]}, {"a": SCORES, "b": SCORES[:3]}), "same seeds"),
        (lambda: probability_of_improvement(SCORES, SCORES[:, :1]), "2 and 1 environments"),
        (lambda: holm([0.5, 1.2]), "between 0 and 1"),
        (lambda: holm([math.nan]), "no finite number for comparisons 0"),
        (lambda: verdicts([difference(0.1)], alpha=0.0), "alpha"),
        (lambda: minimum_detectable_effect(0.0, 4), "standard error above 0"),
        (lambda: minimum_detectable_effect(1.0, 4, alpha=0.9), "alpha < power"),
        (lambda: area_under_curve([1], [0.5]), "two evaluations"),
        (lambda: area_under_curve([1, 1], [0.5, 0.6]), "must increase"),
        (lambda: area_under_curve([1, 2], [0.5]), "1 scores at 2"),
        (lambda: budget_to_target([1, 2], [0.5, math.nan], 0.4), "evaluations 1"),
        (lambda: median_to_target([], 0.4), "no seed is done"),
        (lambda: without_environments({"a": SCORES}, ["x", "y"], {"z"}), "no such environment: z"),
        (lambda: without_environments({"a": SCORES}, ["x", "y"], {"x", "y"}), "no environment is left"),
        (lambda: require_complete({"a": SCORES}, ["x"], [1, 2, 3, 4]), "expected 4 seeds and 1 environments"),
        (lambda: Resampling(draws=0), "at least one draw"),
        (lambda: Estimate(0.5, None, None, 1), "a note why it has none"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(BenchError, match=message):
        call()


def test_the_same_seed_gives_the_same_interval():
    again = [aggregate_scores(SCORES, how=Resampling(draws=50, seed=seed)) for seed in (1, 1, 2)]
    assert again[0] == again[1]
    assert again[0] != again[2]
