"""Average rank and relative overall: values by hand, ties, and their dependence on the set."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from fdiv_gym.bench import Resampling, average_rank, relative_overall
from fdiv_gym.bench.ranking import place_shares, ranks
from fdiv_gym.errors import BenchError

FEW = Resampling(draws=300)
SET = {
    "a": np.array([[0.9, 0.2], [0.7, 0.4]]),  # means .8 and .3
    "b": np.array([[0.5, 0.6], [0.5, 0.4]]),  # .5 and .5
    "c": np.array([[0.4, 0.3], [0.6, 0.3]]),  # .5 and .3
}


def test_average_ranks_by_hand():
    found = average_rank(SET, FEW)
    assert {name: e.value for name, e in found.estimates.items()} == {"a": 1.75, "b": 1.75, "c": 2.5}


def test_relative_overall_by_hand():
    found = relative_overall(SET, [0.3, 0.1], how=FEW)
    # The first environment: 100, 40, 40. The second: 50, 100, 50.
    assert {n: e.value for n, e in found.estimates.items()} == pytest.approx({"a": 75.0, "b": 70.0, "c": 45.0})


def test_an_objective_below_the_base_model_is_below_zero():
    found = relative_overall({"a": [[0.5]], "b": [[0.1]]}, [0.3], how=FEW)
    assert found.estimates["b"].value == pytest.approx(-100.0)


def test_both_numbers_depend_on_the_set():
    smaller = {name: SET[name] for name in ("a", "c")}
    assert average_rank(smaller, FEW).estimates["a"].value == 1.25
    assert relative_overall(smaller, [0.3, 0.1], how=FEW).estimates["a"].value == pytest.approx(100.0)


@given(arrays(np.float64, st.integers(1, 6), elements=st.integers(0, 3).map(float)))
@settings(max_examples=50, deadline=None)
def test_ranks_are_those_of_scipy(scores):
    assert ranks(scores).tolist() == stats.rankdata(-scores).tolist()
    shares = place_shares(scores)
    assert shares.sum(axis=0) == pytest.approx(1.0)
    assert shares.sum(axis=1) == pytest.approx(1.0)
    assert shares @ np.arange(1, len(scores) + 1) == pytest.approx(ranks(scores))


def test_rounding_is_a_tie():
    assert ranks([0.1 + 0.2, 0.3]).tolist() == [1.5, 1.5]


def test_the_places_are_those_of_the_draws():
    # a is always first. b and c take turns: in one environment each is above the other in half of the draws.
    found = average_rank({"a": [[1.0], [1.0]], "b": [[0.2], [0.4]], "c": [[0.4], [0.2]]}, Resampling(draws=20_000))
    assert found.places is not None
    assert found.places["a"].tolist() == [1.0, 0.0, 0.0]
    # Seeds are shared: both seeds once (half of the draws) is a tie, the others are decided by the seed drawn twice.
    assert found.places["b"] == pytest.approx([0.0, 0.5, 0.5], abs=0.02)
    assert (found.estimates["b"].low, found.estimates["b"].high) == (2.0, 3.0)
    total = sum(found.places.values())
    assert total == pytest.approx(np.ones(3))


def test_the_set_shares_its_seeds():
    # A common effect of the seed, larger than the difference: drawn together, a is above b in every draw.
    common = np.random.RandomState(0).normal(size=(6, 3))
    found = average_rank({"a": common + 0.01, "b": common}, FEW)
    assert found.places is not None
    assert found.places["a"].tolist() == [1.0, 0.0]
    again = relative_overall({"a": common + 10.01, "b": common + 10}, np.zeros(3), how=FEW)
    assert again.places is not None
    assert again.places["a"].tolist() == [1.0, 0.0]


def test_the_order_of_the_set_does_not_matter():
    turned = dict(reversed(SET.items()))
    assert average_rank(turned, FEW).estimates == average_rank(SET, FEW).estimates


def test_one_seed_has_no_interval_and_no_places():
    one = {name: matrix[:1] for name, matrix in SET.items()}
    for found in (average_rank(one, FEW), relative_overall(one, [0.0, 0.0], how=FEW)):
        assert found.places is None
        assert {e.note for e in found.estimates.values()} == {"one seed: no interval"}


def test_a_base_model_that_is_best_is_refused():
    with pytest.raises(BenchError, match="not defined on words: no objective is better than the base model"):
        relative_overall(SET, [0.3, 0.5], ["sums", "words"], FEW)


def test_a_base_model_that_is_best_in_some_draws_leaves_no_interval():
    found = relative_overall({"a": [[0.1], [0.9]], "b": [[0.0], [0.0]]}, [0.3], how=Resampling(draws=20_000))
    assert found.places is None
    assert found.estimates["a"].value == pytest.approx(100.0)
    share = float(found.estimates["a"].note.split(" in ")[1].partition("%")[0])
    assert share == pytest.approx(25.0, abs=1.0)  # the seed of 0.1 drawn twice


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: average_rank({"a": SET["a"]}), "at least two objectives"),
        (lambda: average_rank({"a": SET["a"], "b": SET["b"][:1]}), "the shapes are"),
        (lambda: average_rank({"a": SET["a"], "b": [[0.1, math.nan], [0.2, 0.3]]}), "matrix of b .* environments 1"),
        (lambda: relative_overall(SET, [0.1]), "base has 1 environments"),
        (lambda: relative_overall(SET, [0.1, math.nan]), "base has no score for environments 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(BenchError, match=message):
        call()
