"""Our on-policy objectives and advantages equal TRL's own code: value and gradient to 1e-10, also off policy.

The trainer of TRL divides by what a trainer of ours leaves to the aggregation, so each case names its own.
"""

import dataclasses
import math

import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

import fdiv_gym as fg
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.testing.steps import evaluate, make_step
from parity.trl_on_policy import advantages_of, loss_of

BOUND = 1e-10
TRL_GROUP = {"name": "group", "correction": 1, "eps": 1e-4}
WHOLE = {"name": "constant-length", "length": 1}

# our name, our options, TRL's loss type, TRL's options
CASES = [
    ("grpo", {"beta": 0.0}, "grpo", {}),
    ("grpo", {"beta": 0.0, "clip_low": 0.1, "clip_high": 0.3}, "grpo", {"epsilon_low": 0.1, "epsilon_high": 0.3}),
    ("grpo", {"beta": 0.04}, "grpo", {"beta": 0.04}),
    ("grpo", {"beta": 0.04, "unbiased_k3": True}, "grpo", {"beta": 0.04, "use_bias_correction_kl": True}),
    ("dr-grpo", {}, "dr_grpo", {}),
    (
        "dr-grpo",
        {"beta": 0.1, "aggregation": {"name": "constant-length", "length": 9}},
        "dr_grpo",
        {"beta": 0.1, "max_completion_length": 9},
    ),
    ("dapo", {}, "dapo", {"epsilon_high": 0.28}),
    (
        "dapo",
        {"beta": 0.1, "unbiased_k3": True},
        "dapo",
        {"epsilon_high": 0.28, "beta": 0.1, "use_bias_correction_kl": True},
    ),
    ("bnpo", {"advantage": TRL_GROUP}, "bnpo", {}),
    ("bnpo", {"advantage": TRL_GROUP, "beta": 0.1}, "bnpo", {"beta": 0.1}),
    ("cispo", {}, "cispo", {"epsilon_high": 5.0}),
    ("cispo", {"clip_high": 0.1, "beta": 0.1}, "cispo", {"epsilon_high": 1.1, "beta": 0.1}),
    (
        "gspo",
        {},
        "grpo",
        {"importance_sampling_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4},
    ),
    (
        "gspo",
        {"clip_low": 0.1, "clip_high": 0.1, "beta": 0.1, "unbiased_k3": True},
        "grpo",
        {
            "importance_sampling_level": "sequence",
            "epsilon_low": 0.1,
            "epsilon_high": 0.1,
            "beta": 0.1,
            "use_bias_correction_kl": True,
        },
    ),
    (  # LUSPO: the loss of a response times its length.
        "gspo",
        {"clip_low": 0.1, "clip_high": 0.1, "aggregation": WHOLE},
        "luspo",
        {"importance_sampling_level": "sequence", "epsilon_low": 0.1, "epsilon_high": 0.1},
    ),
    ("sapo", {}, "sapo", {}),
    (
        "sapo",
        {"temperature_positive": 2.0, "temperature_negative": 5.3, "beta": 0.1},
        "sapo",
        {"sapo_temperature_pos": 2.0, "sapo_temperature_neg": 5.3, "beta": 0.1},
    ),
    ("gmpo", {}, "gmpo", {"epsilon_low": 0.4, "epsilon_high": 0.4}),
    (
        "gmpo",
        {"clip_low": 0.1, "clip_high": 0.2, "beta": 0.1},
        "gmpo",
        {"epsilon_low": 0.1, "epsilon_high": 0.2, "beta": 0.1},
    ),
    ("rloo", {"ratio": "sequence"}, "rloo", {}),
    (
        "rloo",
        {"ratio": "sequence", "clip_low": 0.4, "clip_high": 0.1},
        "rloo",
        {"epsilon_low": 0.4, "epsilon_high": 0.1},
    ),
]
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(CASES)]


def with_advantage(name, options):
    """TRL's advantage is given to both sides; its own code is compared below."""
    ours = {"rloo": "leave-one-out", "dr-grpo": "mean-centred"}.get(name, TRL_GROUP)
    return {"advantage": ours} | options


@pytest.mark.parametrize(("name", "options", "kind", "theirs"), CASES, ids=IDS)
@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0], ids=["on-policy", "near", "far"])
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_and_gradient(name, options, kind, theirs, spread, seed):
    step = make_step((6, 6, 6, 6), tokens=9, seed=seed, spread=spread)
    objective = fg.get_objective(name, **with_advantage(name, options))
    found = evaluate(objective, step)
    advantages = objective.advantage.compute(step.groups(policy=False))
    value, gradient = loss_of(kind, step, advantages, **theirs)
    assert abs(float(found.value) - value) <= BOUND * max(1.0, abs(value))
    assert float(gradient.norm()) > 1e-4
    assert float((found.gradients["rollouts"] - gradient).norm()) <= BOUND * float(gradient.norm())


@pytest.mark.parametrize("kind", ["grpo", "gmpo", "rloo"])
def test_the_cases_off_policy_are_clipped_in_both_directions(kind):
    """Otherwise equality would say nothing about the clip."""
    step = make_step((6, 6, 6, 6), tokens=9, spread=1.0)
    options = {"rloo": {"ratio": "sequence"}, "grpo": {"beta": 0.0}}.get(kind, {})
    metrics = evaluate(fg.get_objective(kind, **options), step).metrics
    assert float(metrics["rollouts/clipped_low"]) > 0.05
    assert float(metrics["rollouts/clipped_high"]) > 0.05


def rewards_of(seed, functions=1, groups=5, size=6):
    """[N, K] of binary and continuous rewards; three responses have none, one lacks the last; a group is all equal."""
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.rand(groups * size, functions, generator=generator, dtype=torch.float64)
    rewards[:, 0] = (rewards[:, 0] > 0.5).double()
    rewards[size : 2 * size] = 0.7
    rewards[[0, 13, 14]] = math.nan
    if functions > 1:
        rewards[20, -1] = math.nan
    return rewards


def batch_of(rewards, size=6):
    whole = torch.where(rewards.isnan().all(-1), math.nan, rewards.nansum(-1))
    parts = {str(k): rewards[:, k] for k in range(rewards.shape[1])}
    return dataclasses.replace(GroupBatch.of_equal_size(whole, size), components=parts)


ADVANTAGES = [
    (GRPOTrainer, {}, TRL_GROUP),
    (GRPOTrainer, {"scale_rewards": "batch"}, TRL_GROUP | {"scale": "step"}),
    (GRPOTrainer, {"scale_rewards": "none"}, "mean-centred"),
    (
        GRPOTrainer,
        {"multi_objective_aggregation": "normalize_then_sum"},
        {"name": "gdpo", "correction": 1, "eps": 1e-4},
    ),
    (RLOOTrainer, {}, "leave-one-out"),
    (
        RLOOTrainer,
        {"normalize_advantages": True},
        {"name": "reinforce++", "baseline": "leave-one-out", "correction": 1, "eps": 1e-4},
    ),
]


@pytest.mark.parametrize(("trainer", "theirs", "ours"), ADVANTAGES)
@pytest.mark.parametrize("functions", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_advantages(trainer, theirs, ours, functions, seed):
    rewards = rewards_of(seed, functions)
    expected = advantages_of(trainer, rewards, 6, **theirs)
    found = fg.get_advantage(ours).compute(batch_of(rewards))
    assert float(expected.abs().max()) > 0.5
    torch.testing.assert_close(found, expected, rtol=BOUND, atol=BOUND)


def test_weights_of_components():
    rewards, weights = rewards_of(2, 3), {"0": 2.0, "1": 0.5, "2": 1.0}
    options = {"reward_weights": torch.tensor(list(weights.values()), dtype=torch.float64)}
    expected = advantages_of(GRPOTrainer, rewards, 6, multi_objective_aggregation="normalize_then_sum", **options)
    found = fg.get_advantage("gdpo", correction=1, eps=1e-4, weights=weights).compute(batch_of(rewards))
    torch.testing.assert_close(found, expected, rtol=BOUND, atol=BOUND)


def test_kl_inside_the_reward_is_the_environments_part_here():
    """TRL's RLOO subtracts beta log(pi_old/pi_ref) from the reward; given to both sides, the advantages are equal."""
    rewards, kl = rewards_of(3), torch.linspace(-1, 2, 30, dtype=torch.float64)
    expected = advantages_of(RLOOTrainer, rewards, 6, kl=kl, beta=0.3)
    penalised = rewards.squeeze(-1) - 0.3 * kl
    found = fg.get_advantage("leave-one-out").compute(GroupBatch.of_equal_size(penalised, 6))
    torch.testing.assert_close(found, expected, rtol=BOUND, atol=BOUND)


def test_the_default_of_ours_divides_by_g():
    """By choice: the standard deviation of GRPO here has G in the denominator, and eps = 1e-6; TRL's G - 1 and 1e-4."""
    rewards = torch.tensor([[1.0], [0.0], [0.0], [0.0]], dtype=torch.float64)
    theirs = advantages_of(GRPOTrainer, rewards, 4)
    ours = fg.get_advantage("group").compute(batch_of(rewards, 4))
    torch.testing.assert_close(ours, theirs * math.sqrt(4 / 3), rtol=3e-4, atol=0)
