"""Advantages and aggregations: values, and what holds for every one of them."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import fdiv_gym as fg
from fdiv_gym.objectives.batch import GroupBatch
from objectives import reference

KINDS = ("group", "mean-centred", "leave-one-out", "max-normalised", "batch")
ELSEWHERE = {"reinforce++", "gdpo", "beta-normalised"}  # test_advantages_of_the_step.py
NAN = math.nan


def groups_of(rewards, sizes):
    index = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    n = len(rewards)
    return GroupBatch(torch.tensor(rewards, dtype=torch.float64), index, torch.zeros(n).double(), torch.ones(n).long())


# One group of (3, 1, 2, no score) with mean 2 and standard deviation sqrt(2/3), one of a single 5; over both
# the mean is 11/4 and the variance 35/16.
BY_HAND = {
    "group": [math.sqrt(1.5), -math.sqrt(1.5), 0, 0, 0],
    "mean-centred": [1, -1, 0, 0, 0],
    "leave-one-out": [1.5, -1.5, 0, 0, 0],
    "max-normalised": [1, -1, 0, 0, 0],
    "batch": [r / math.sqrt(35 / 16) for r in (0.25, -1.75, -0.75, 0, 2.25)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_advantage_by_hand(kind):
    found = fg.get_advantage(kind).compute(groups_of([3, 1, 2, NAN, 5], [4, 1]))
    torch.testing.assert_close(found, torch.tensor(BY_HAND[kind], dtype=torch.float64), rtol=2e-6, atol=1e-12)


def test_every_registered_advantage_of_the_core_is_tested():
    assert {e.name for e in fg.list_entries("advantage") if e.plugin == "fdiv-gym:core"} == {*KINDS, *ELSEWHERE}


rewards = st.sampled_from([0.0, 1.0, 0.1, 0.7, 1 / 3, -2.5, NAN])
grouped = st.lists(st.lists(rewards, min_size=1, max_size=7), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(groups=grouped, kind=st.sampled_from(KINDS))
def test_advantages_equal_the_reference(groups, kind):
    flat, sizes = [r for g in groups for r in g], [len(g) for g in groups]
    batch = groups_of(flat, sizes)
    found = fg.get_advantage(kind).compute(batch)
    expected = reference.advantages({"rewards": batch.rewards.numpy(), "group": batch.index.numpy()}, kind)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)
    assert not bool(found[~batch.scored].any())


@settings(max_examples=60, deadline=None)
@given(
    constant=st.floats(-1e6, 1e6),
    sizes=st.lists(st.integers(1, 19), min_size=1, max_size=4),
    kind=st.sampled_from(KINDS),
)
def test_equal_rewards_have_exactly_no_advantage(constant, sizes, kind):
    found = fg.get_advantage(kind).compute(groups_of([constant] * sum(sizes), sizes))
    assert torch.equal(found, torch.zeros(sum(sizes), dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(groups=grouped, shift=st.floats(-10, 10), kind=st.sampled_from(KINDS))
def test_advantages_do_not_depend_on_the_zero_of_the_rewards(groups, shift, kind):
    # 1/8 steps: exact in floating point, so equal rewards stay equal.
    shift = round(shift * 8) / 8
    flat, sizes = [NAN if math.isnan(r) else round(r * 8) / 8 for g in groups for r in g], [len(g) for g in groups]
    advantage = fg.get_advantage(kind)
    moved = advantage.compute(groups_of([r + shift for r in flat], sizes))
    torch.testing.assert_close(moved, advantage.compute(groups_of(flat, sizes)), rtol=1e-9, atol=1e-9)


LENGTHS, SHARES = torch.tensor([2, 4, 1, 0]), torch.tensor([0.25, 0.25, 0.25, 0.25], dtype=torch.float64)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("sequence", [1 / 8, 1 / 16, 1 / 4, 1 / 4]),
        ("token-mean", [1 / 7] * 4),
        ({"name": "constant-length", "length": 10}, [1 / 40] * 4),
    ],
)
def test_aggregation_weights(spec, expected):
    found = fg.get_aggregation(spec).weights(LENGTHS, SHARES)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_every_prompt_weighs_the_same_however_many_responses_it_has():
    groups = groups_of([1, 0, 1, 0, 1, 0], [2, 4])
    weights = fg.get_aggregation("sequence").weights(groups.lengths, groups.shares)
    torch.testing.assert_close(weights, torch.tensor([1 / 4] * 2 + [1 / 8] * 4, dtype=torch.float64))
