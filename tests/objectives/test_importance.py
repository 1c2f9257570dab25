"""Importance weights of f-grpo and f-hal: gradients against a formula written apart from them, in numpy."""

import dataclasses

import numpy as np
import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.objectives.importance import importance_weights, share_truncated, weighted_change
from fdiv_gym.testing.steps import evaluate, make_step

BETA, GAMMA, CAP = 0.2, 0.5, 1.3


def by_hand(step, level):
    """d loss/d log pi of every token, for pearson: g(v) = v, f*(g(v)) = v + v^2/4, so psi' is 1 or 1 + v/2."""
    rows = step.rollouts
    now, ref, old, mask = (x.numpy() for x in (rows.logps, rows.ref_logps, rows.old_logps, rows.mask))
    rewards, index = step.rewards.numpy(), step.group.numpy()
    gradient = np.zeros_like(now)
    for i in range(len(rewards)):
        mates = rewards[index == index[i]]
        a = (rewards[i] - mates.mean()) / (mates.std() + 1e-6)
        if a == 0:
            continue
        v = (BETA * (now - ref) + GAMMA * (now - old))[i][mask[i]].sum()
        slope = 1.0 if a > 0 else 1 + v / 2
        ratio = np.exp((now - old)[i])
        weight = np.minimum(ratio, CAP) if level == "token" else min(ratio[mask[i]].prod(), CAP)
        weight = 1.0 if level == "none" else weight
        scale = -a / (1 + 1 / BETA) / (len(mates) * len(np.unique(index)))
        gradient[i] = np.where(mask[i], scale * slope * (BETA + GAMMA) * weight, 0.0)
    return gradient


@pytest.mark.parametrize("level", ["none", "token", "sequence"])
def test_the_gradient_is_the_formula(level):
    step = make_step(seed=3, spread=0.4)
    cap = {} if level == "none" else {"importance_cap": CAP}
    objective = fg.get_objective("f-grpo", divergence="pearson", beta=BETA, gamma=GAMMA, importance=level, **cap)
    found = evaluate(objective, step).gradients["rollouts"].numpy()
    expected = by_hand(step, level)
    assert np.abs(expected).max() > 0.01
    assert found == pytest.approx(expected, abs=1e-12)
    assert objective.exact_gradient == (level == "none")
    assert objective.needs_recomputed_logps == (level != "none")


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_on_the_old_policy_the_weights_change_nothing(level):
    step = make_step(seed=1)
    rows = dataclasses.replace(step.rollouts, old_logps=step.rollouts.logps)
    step = dataclasses.replace(step, rollouts=rows)
    plain = evaluate(fg.get_objective("f-grpo"), step)
    for cap in (2.0, 1.0):
        weighted = evaluate(fg.get_objective("f-grpo", importance=level, importance_cap=cap), step)
        assert float(weighted.loss) == pytest.approx(float(plain.loss), rel=1e-12)
        assert plain.distance(weighted) < 1e-12 * plain.norm
        assert float(weighted.metrics["rollouts/truncated"]) == 0.0


def test_the_value_with_token_weights_is_that_without():
    step = make_step(seed=2)
    values = [evaluate(fg.get_objective("f-grpo", importance=level), step).value for level in ("none", "token")]
    assert float(values[0]) == pytest.approx(float(values[1]), rel=1e-12)


def test_f_hal_weights_its_rollouts_only():
    step = make_step(seed=4)
    plain, weighted = (
        evaluate(fg.get_objective("f-hal", importance=level), step).gradients for level in ("none", "sequence")
    )
    assert torch.equal(plain["preferences"], weighted["preferences"])
    assert not torch.allclose(plain["rollouts"], weighted["rollouts"])
    assert not fg.get_objective("f-hal", importance="token").exact_gradient
    assert fg.get_objective("f-hal", importance="token").needs_recomputed_logps


def test_weights_by_hand():
    logps = torch.log(torch.tensor([[0.5, 0.9, 0.3]])).double().requires_grad_()
    old = torch.log(torch.tensor([[0.25, 0.6, 0.6]])).double()
    mask = torch.tensor([[True, True, False]])
    batch = fg.MicroBatch(logps, mask, None, old, {"every": torch.tensor([1.0])})
    tokens = importance_weights(batch, "token", 1.8)
    assert tokens[0].tolist() == pytest.approx([1.8, 1.5, 1.0])
    assert importance_weights(batch, "sequence", 10.0).tolist() == pytest.approx([3.0])
    assert importance_weights(batch, "sequence", 2.0).tolist() == pytest.approx([2.0])
    assert not tokens.requires_grad
    change = weighted_change(batch, tokens)
    assert float(change.detach()) == 0.0
    (gradient,) = torch.autograd.grad(change.sum(), logps)
    assert gradient[0].tolist() == pytest.approx([1.8, 1.5, 0.0])
    assert float(share_truncated("rollouts", batch, "token", 1.8)["rollouts/truncated"].detach()) == 0.5


def test_two_corrections_at_once_are_refused():
    with pytest.raises(fg.ConfigError, match=r"importance = 'token' and weighting = 'softmax' both weight"):
        fg.get_objective("f-grpo", importance="token", weighting="softmax")
    with pytest.raises(fg.ConfigError, match="importance_cap"):
        fg.get_objective("f-grpo", importance="token", importance_cap=0.5)
    for name in ("f-grpo", "f-hal"):
        with pytest.raises(
            fg.ConfigError, match=r"importance_cap = 5.0 truncates importance weights, and importance ="
        ):
            fg.get_objective(name, importance_cap=5.0)
