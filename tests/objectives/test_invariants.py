"""Invariants on random steps: any grouping, any missing scores, any split, for every registered objective."""

import dataclasses
import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import fdiv_gym as fg
from fdiv_gym.testing.steps import evaluate, make_step

NAMES = [entry.name for entry in fg.list_entries("objective")]
# The rewards below lie between -2 and 1.
OPTIONS = {"bnpo": {"advantage": {"name": "beta-normalised", "low": -2.0}}}
OBJECTIVES = {name: fg.get_objective(name, **OPTIONS.get(name, {})) for name in NAMES}
ON_POLICY = [name for name in NAMES if "rollouts" in OBJECTIVES[name].streams]
PREFERENCES = [name for name in NAMES if "preferences" in OBJECTIVES[name].streams]
F_OBJECTIVES = [name for name in ("f-grpo", "f-hal") if name in NAMES]

rewards = st.sampled_from([0.0, 1.0, 0.1 * 7, 1 / 3, -2.0, math.nan])


@st.composite
def steps(draw):
    """A step of one to four groups of one to five responses with any rewards, and one to five pairs."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    step = make_step(sizes, draw(st.integers(1, 5)), draw(st.integers(1, 6)), draw(st.integers(0, 10**6)))
    scores = draw(st.lists(rewards, min_size=sum(sizes), max_size=sum(sizes)))
    return dataclasses.replace(step, rewards=torch.tensor(scores, dtype=torch.float64))


def close(first, second, bound=1e-12):
    gap = first.distance(second)
    assert gap <= bound * max(first.norm, 1e-12)
    assert float(first.value) == pytest.approx(float(second.value), abs=bound * max(1.0, abs(float(first.value))))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None)
@given(step=steps(), units=st.integers(1, 4))
def test_any_split_gives_the_same_sum(name, step, units):
    whole = evaluate(OBJECTIVES[name], step)
    assert whole.finite
    parts = evaluate(OBJECTIVES[name], step, units, skip=OBJECTIVES[name].skips_inactive)
    close(whole, parts)
    for metric, value in parts.metrics.items():
        assert float(value) == pytest.approx(float(whole.metrics[metric]), abs=1e-10)


@pytest.mark.parametrize("name", ON_POLICY)
@settings(max_examples=12, deadline=None)
@given(step=steps(), seed=st.integers(0, 10**6))
def test_the_order_of_responses_does_not_matter(name, step, seed):
    order = torch.randperm(len(step.rewards), generator=torch.Generator().manual_seed(seed))
    found = evaluate(OBJECTIVES[name], step.with_responses(order))
    back = dict(found.gradients)
    back["rollouts"] = torch.zeros_like(back["rollouts"]).index_copy(0, order, back["rollouts"])
    close(evaluate(OBJECTIVES[name], step), dataclasses.replace(found, gradients=back))


@pytest.mark.parametrize("name", ON_POLICY)
@settings(max_examples=12, deadline=None)
@given(step=steps())
def test_a_response_without_score_has_no_gradient(name, step):
    gradient = evaluate(OBJECTIVES[name], step).gradients["rollouts"]
    assert not bool(gradient[step.rewards.isnan()].any())


@pytest.mark.parametrize("name", F_OBJECTIVES)
@settings(max_examples=25, deadline=None)
@given(step=steps())
def test_f_objectives_pull_towards_the_better_responses(name, step):
    """Inside the monotone interval of the divergence, and these log-ratios are, at every policy."""
    outcome = evaluate(OBJECTIVES[name], step)
    pull = outcome.gradients["rollouts"].sum(-1)
    advantages = fg.get_advantage("group").compute(step.groups(False))
    assert torch.equal(torch.sign(pull), -torch.sign(advantages))


@pytest.mark.parametrize("name", PREFERENCES)
@settings(max_examples=8, deadline=None)
@given(step=steps(), copies=st.integers(2, 3))
def test_a_step_repeated_is_the_same_mean(name, step, copies):
    """Denominators are those of the stream: all preferences twice is the same loss."""
    n, units = len(step.chosen), int(step.preferences.unit.max()) + 1
    many = step.with_preference_rows(torch.arange(n).repeat(copies))
    # Neighbouring copies of the last and the first unit would otherwise merge where there is one unit.
    unit = torch.cat([step.preferences.unit + i * units for i in range(copies)])
    many = dataclasses.replace(many, preferences=dataclasses.replace(many.preferences, unit=unit))
    first, second = evaluate(OBJECTIVES[name], step), evaluate(OBJECTIVES[name], many)
    assert float(second.value) == pytest.approx(float(first.value), rel=1e-10, abs=1e-12)
