"""Advantages that compare prompts with each other: values by hand, and against independent references."""

import dataclasses
import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import fdiv_gym as fg
from fdiv_gym.errors import ConfigError
from fdiv_gym.objectives.batch import GroupBatch
from objectives import reference_on_policy as ref
from objectives.test_advantages import NAN, groups_of

REFERENCES = {
    "group": ref.group,
    "reinforce++": ref.reinforce_plus_plus,
    "gdpo": ref.gdpo,
    "beta-normalised": ref.beta_normalised,
}
CASES = [
    ("group", {"correction": 1, "eps": 1e-4}, {"correction": 1, "eps": 1e-4}),
    ("group", {"scale": "step"}, {"scale": "step"}),
    ("group", {"scale": "step", "correction": 1}, {"scale": "step", "correction": 1}),
    ("reinforce++", {}, {}),
    ("reinforce++", {"baseline": "leave-one-out", "correction": 1}, {"baseline": "leave-one-out", "correction": 1}),
    ("gdpo", {}, {}),
    ("gdpo", {"correction": 1, "eps": 1e-4}, {"correction": 1, "eps": 1e-4}),
    ("gdpo", {"weights": {"a": 2.0, "b": 0.5}}, {"weights": {"a": 2.0, "b": 0.5}}),
    ("beta-normalised", {"low": -2.0, "high": 3.0}, {"low": -2.0, "high": 3.0}),
]  # fmt: skip

values = st.sampled_from([0.0, 1.0, 0.1, 0.7, 1 / 3, -2.0, NAN])
grouped = st.lists(st.lists(st.tuples(values, values, values), min_size=1, max_size=7), min_size=1, max_size=5)


def as_numpy(batch):
    parts = {name: part.numpy() for name, part in batch.components.items()}
    return {"rewards": batch.rewards.numpy(), "group": batch.index.numpy(), "components": parts}


@pytest.mark.parametrize(("kind", "options", "arguments"), CASES)
@settings(max_examples=40, deadline=None)
@given(rows=grouped)
def test_advantages_equal_the_reference(kind, options, arguments, rows):
    flat = [row for group in rows for row in group]
    batch = groups_of([r for r, _, _ in flat], [len(group) for group in rows])
    components = {
        "a": torch.tensor([a for _, a, _ in flat]).double(),
        "b": torch.tensor([b for *_, b in flat]).double(),
    }
    batch = dataclasses.replace(batch, components=components)
    found = fg.get_advantage(kind, **options).compute(batch)
    expected = torch.from_numpy(REFERENCES[kind](as_numpy(batch), **arguments))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert not bool(found[~batch.scored].any())


@pytest.mark.parametrize("kind", REFERENCES)
@settings(max_examples=40, deadline=None)
@given(constant=st.floats(-1e6, 1e6), sizes=st.lists(st.integers(1, 19), min_size=1, max_size=4))
def test_equal_rewards_have_exactly_no_advantage(kind, constant, sizes):
    found = fg.get_advantage(kind).compute(groups_of([constant] * sum(sizes), sizes))
    assert torch.equal(found, torch.zeros(sum(sizes), dtype=torch.float64))


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_prompt_of_equal_rewards_has_exactly_no_advantage(kind):
    found = fg.get_advantage(kind).compute(groups_of([0.1, 0.1, 0.1, 0.7, 0.2, NAN], [3, 3]))
    assert found[:3].tolist() == [0, 0, 0]
    assert float(found[5]) == 0
    assert float(found[3]) > 0 > float(found[4])


def test_reinforce_plus_plus_by_hand():
    """b = 1, -1, 0, 2, -2: the mean of squares is 2."""
    found = fg.get_advantage("reinforce++", eps=0.0).compute(groups_of([3, 1, 5, 7, 3], [2, 3]))
    torch.testing.assert_close(found * math.sqrt(2), torch.tensor([1, -1, 0, 2, -2]).double())


def test_gdpo_tells_apart_what_the_sum_does_not():
    """Two binary components of weight 1: (0, 1) and (0, 2) of a prompt have equal GRPO advantages, not here."""
    first, second = groups_of([1, 0, 2, 0], [2, 2]), fg.get_advantage("gdpo", eps=0.0)
    parts = {"a": torch.tensor([1, 0, 1, 0]).double(), "b": torch.tensor([0, 0, 1, 0]).double()}
    batch = dataclasses.replace(first, components=parts)
    # s = 1, -1, 2, -2; the mean of squares is 5/2.
    torch.testing.assert_close(second.compute(batch) * math.sqrt(2.5), torch.tensor([1, -1, 2, -2]).double())
    assert fg.get_advantage("group", eps=0.0).compute(batch).tolist() == [1, -1, 1, -1]


def test_gdpo_names_a_component_that_is_missing():
    batch = dataclasses.replace(groups_of([1, 0], [2]), components={"format": torch.tensor([1.0, 0.0]).double()})
    with pytest.raises(ConfigError, match="has the component 'fromat'; components: format"):
        fg.get_advantage("gdpo", weights={"fromat": 1.0}).compute(batch)


def test_beta_normalised_by_hand():
    """p = 1/4 and 3/4: m = 1/2, v = 1/8, k = 1, so a = b = 1/2 and the density is that of Beta(7/6, 7/6)."""
    found = fg.get_advantage("beta-normalised").compute(groups_of([1, 0, 0, 0, 1, 1, 1, 0], [4, 4]))
    density = (3 / 16) ** (1 / 6) * math.gamma(7 / 3) / math.gamma(7 / 6) ** 2
    expected = torch.tensor([3, -1, -1, -1, 1, 1, 1, -3]).double() / 4 / density
    torch.testing.assert_close(found, expected)


def test_beta_normalised_asks_for_the_range_of_the_rewards():
    groups = groups_of([5, 0], [2])
    with pytest.raises(ConfigError, match=r"a reward is 5, outside \[0, 1\]: set the advantage's low and high"):
        fg.get_advantage("beta-normalised").compute(groups)
    assert fg.get_advantage("beta-normalised", high=5.0).compute(groups).tolist() == [0.5, -0.5]
    with pytest.raises(ConfigError, match="low must be below high"):
        fg.get_advantage("beta-normalised", low=1.0, high=1.0)


def test_an_empty_batch_has_no_advantages():
    empty = GroupBatch(torch.empty(0).double(), torch.empty(0).long(), torch.empty(0).double(), torch.empty(0).long())
    for kind in REFERENCES:
        assert fg.get_advantage(kind).compute(empty).numel() == 0


def two_components():
    batch = groups_of([0.0, 1.0, 0.5, 0.2, 0.1, 0.9], [3, 3])
    parts = {"a": [0.0, 2.0, 7.0, 1.0, 1.0, 4.0], "b": [0.3, 0.1, 0.2, 0.0, 0.5, 0.5]}
    return dataclasses.replace(batch, components={n: torch.tensor(v, dtype=torch.float64) for n, v in parts.items()})


@pytest.mark.parametrize("weights", [{}, {"a": 2.0, "b": 0.5}])
def test_gdpo_multiplies_the_weights_of_the_components(weights):
    steered, expected = fg.get_advantage("gdpo", weights=weights), {"a": 3 * weights.get("a", 1.0), "b": 0.0}
    steered.multipliers = {"a": 3.0, "b": 0.0, "absent": 7.0}
    other = fg.get_advantage("gdpo", weights=expected)
    assert torch.equal(steered.compute(two_components()), other.compute(two_components()))
    compared = steered.compared(two_components())
    assert [v.tolist() for v in compared] == [two_components().components["a"].tolist()]


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, True, "2"])
def test_a_multiplier_that_is_no_weight_is_refused(value):
    estimator = fg.get_advantage("gdpo")
    estimator.multipliers = {"a": value}
    with pytest.raises(fg.PluginError, match=r"the multiplier of 'a' is .*, expected a finite number of at least 0"):
        estimator.compute(two_components())
