"""Measurements for two defaults: the importance weights of a group, and the link of kl."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from fdiv_gym.objectives.base import get_objective
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.objectives.f_grpo import group_weights, weight_metrics
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.subjects import OURS
from fdiv_gym.theory.tabular import Table, train_tabular

GROUPS, SIZE, NATS = 2000, 8, 20.0
RUNS, STEPS, RATE = 8, 60, 0.02


@cache
def _weights(weighting: str) -> tuple[float, float]:
    """Mean effective sample size, and share of mixed groups whose positive branch has under 1 % of the weight.

    Binary rewards, half of them 1; log pi_old with a deviation of 20 nats, which is typical of sequences of a
    hundred tokens; 80 to 160 tokens.
    """
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randint(2, (GROUPS * SIZE,), generator=generator).double()
    old = -100 + NATS * torch.randn(GROUPS * SIZE, generator=generator, dtype=torch.float64)
    lengths = torch.randint(80, 161, (GROUPS * SIZE,), generator=generator)
    groups = GroupBatch.of_equal_size(rewards, SIZE, old, lengths)
    advantages = torch.where(groups.all_equal(), 0.0, rewards - groups.mean(rewards))
    weights = group_weights(groups, advantages, weighting)
    metrics = weight_metrics(groups, weights, advantages)
    mixed = advantages != 0
    kept = torch.where(mixed, weights, 0.0)
    share = groups.sum(torch.where(advantages > 0, kept, 0.0)) / groups.sum(kept)
    starved = float((share[mixed] < 0.01).double().mean())
    return metrics["weights/effective_sample_size"], starved


def _effective(weighting: str, bound: float, sense: Any) -> Claim:
    name = f"weighting {weighting}: effective sample size of {SIZE}"
    return Claim(
        name, OURS, _weights(weighting)[0], bound, sense, f"{GROUPS} groups, log pi_old deviates {NATS:g} nats"
    )


def uniform_weights() -> Claim:
    """With uniform weights all responses count."""
    return _effective("uniform", SIZE - 1e-9, ">=")


def softmax_weights() -> Claim:
    """The literal weights of the paper put nearly all weight on about one response."""
    return _effective("softmax", 1.5, "<=")


def length_normalised_weights() -> Claim:
    """Length-normalised weights stay spread over the responses."""
    return _effective("length_normalised", 4.0, ">=")


def starved_branch() -> Claim:
    """Share of mixed groups in which softmax weights suppress the positive branch."""
    name = "softmax: mixed groups with < 1 % weight on positive"
    return Claim(name, OURS, _weights("softmax")[1], None, detail="0 with uniform weights")


@cache
def _trained(**options: Any) -> tuple[float, ...]:
    """The average reward after equal training, for each seed."""
    rewards = []
    for seed in range(RUNS):
        generator = torch.Generator().manual_seed(seed)
        tables = [
            Table(
                torch.softmax(2 * torch.randn(32, generator=generator, dtype=torch.float64), 0),
                (torch.rand(32, generator=generator) < 0.3).double(),
            )
            for _ in range(4)
        ]
        objective = get_objective("f-grpo", **options)
        run = train_tabular(objective, tables, steps=STEPS, group_size=SIZE, rate=RATE, seed=seed)
        rewards.append(run.rewards[-1])
    return tuple(rewards)


def _difference(left: dict[str, Any], right: dict[str, Any]) -> tuple[float, str]:
    a, b = (torch.tensor(_trained(**options), dtype=torch.float64) for options in (left, right))
    error = float((a - b).std() / RUNS**0.5)
    return float((a - b).mean()), f"{float(a.mean()):.3f} - {float(b.mean()):.3f}, standard error {error:.3f}"


def uniform_learns_faster() -> Claim:
    """Equal budget on tables: uniform weights reach a higher reward than softmax weights."""
    gain, detail = _difference({"weighting": "uniform"}, {"weighting": "softmax"})
    name = f"reward after {STEPS} steps: uniform - softmax weights"
    return Claim(name, OURS, gain, 0.0, ">=", f"{RUNS} seeds: {detail}")


def link_of_kl() -> Claim:
    """Equal budget on tables: f-GAN's link of kl against the calibrated one."""
    gain, detail = _difference({"divergence": "kl"}, {"divergence": "kl", "link": "calibrated"})
    name = f"reward after {STEPS} steps: kl link fgan - calibrated"
    return Claim(name, OURS, gain, None, detail=f"{RUNS} seeds: {detail}")


CLAIMS = (
    uniform_weights,
    softmax_weights,
    length_normalised_weights,
    uniform_learns_faster,
)

MEASUREMENTS = (
    starved_branch,
    link_of_kl,
)
