"""Claims on groups of finite size: E|a|/2, importance weights, and the powers of the standard deviation."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fdiv_gym.functional import rollout_loss
from fdiv_gym.objectives.base import get_objective
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.objectives.f_grpo import group_weights
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.subjects import OURS, PAPER

EXACT = {"name": "group", "eps": 0.0}
SIZE, SUCCESS = 4, 0.3
FAR = 60.0
#: How often each of six responses is in the group, and its reward; 24 rows.
DRAWN = torch.tensor([7, 2, 5, 1, 6, 3])
REWARDS = torch.tensor([0.3, 1.4, -0.2, 0.9, 0.1, 0.6], dtype=torch.float64)


def half_mean_advantage(size: int, success: float) -> float:
    """E|a|/2 over groups of ``size`` binary rewards: sum_k C(G, k) p^k (1 - p)^(G - k) sqrt(k/G (1 - k/G))."""
    terms = (
        math.comb(size, k) * success**k * (1 - success) ** (size - k) * math.sqrt(k / size * (1 - k / size))
        for k in range(size + 1)
    )
    return sum(terms)


def _expected_loss(size: int, success: float) -> float:
    """E[-L]/(max D_f/(1 + 1/beta)) of f-grpo with Jensen-Shannon at its optimum, over all outcomes of a group."""
    outcomes = torch.tensor(list(itertools.product((0.0, 1.0), repeat=size)), dtype=torch.float64)
    chances = success ** outcomes.sum(1) * (1 - success) ** (size - outcomes.sum(1))
    objective = get_objective("f-grpo", divergence="jensen_shannon", beta=1.0, advantage=EXACT)
    total = 0.0
    for outcome, chance in zip(outcomes, chances, strict=True):
        v = torch.where(outcome > 0, FAR, -FAR).double()
        total -= float(chance) * float(rollout_loss(objective, GroupBatch.of_equal_size(outcome, size), v, 0 * v))
    return total / (math.log(2) * 2 / 2)


def constant_at_finite_size() -> Claim:
    """The supremum of -L is E|a|/2 max D_f/(1 + 1/beta) with the E|a|/2 of the group's size, not of the limit."""
    worst = max(abs(_expected_loss(size, p) - half_mean_advantage(size, p)) for size in (2, 4, 5) for p in (0.3, 0.7))
    found = half_mean_advantage(SIZE, SUCCESS)
    return Claim("f-grpo at finite G: sup -L = E|a|/2 D_f/(1+1/beta)", OURS, worst, 1e-12,
                 detail=f"all outcomes; G = 4, p = 0.3: E|a|/2 = {found:.4f}")  # fmt: skip


def constant_by_hand() -> Claim:
    """E|a|/2 at G = 4, p = 0.3 is .3433, a quarter below its limit sqrt(p(1 - p)) = .4583 for large groups.

    With k successes of 4: .4116 sqrt(3)/4 + .2646/2 + .0756 sqrt(3)/4 for k = 1, 2, 3.
    """
    by_hand = (0.4116 + 0.0756) * math.sqrt(3) / 4 + 0.2646 / 2
    found = _expected_loss(SIZE, SUCCESS)
    detail = f"found {found:.4f} by 16 outcomes; the limit is {math.sqrt(SUCCESS * (1 - SUCCESS)):.4f}"
    return Claim("E|a|/2 of f-grpo, G = 4, p = 0.3: minus .3433", OURS, abs(found - by_hand), 1e-12, detail=detail)


def _tilted(weighting: str) -> tuple[Tensor, Tensor]:
    """The distribution [2, n] that the weights of a group give, for either sign, and e^(+-r)/Z."""
    rows = torch.repeat_interleave(torch.arange(len(DRAWN)), DRAWN)
    count = len(rows)
    old = (DRAWN.double() / count).log()[rows]
    # Lengths matter to the length-normalised weights only.
    groups = GroupBatch.of_equal_size(REWARDS[rows], count, old, (DRAWN % 4 + 1)[rows])
    found, target = [], []
    for sign in (1.0, -1.0):
        weights = group_weights(groups, torch.full((count,), sign, dtype=torch.float64), weighting)
        found.append(torch.zeros(len(DRAWN), dtype=torch.float64).index_add(0, rows, weights / count))
        tilted = np.exp(sign * REWARDS.numpy())
        target.append(torch.from_numpy(tilted / tilted.sum()))
    return torch.stack(found), torch.stack(target)


def softmax_weights_are_consistent() -> Claim:
    """For many draws, softmax weights reweight pi_old to the distribution e^(+-r)/Z over the responses."""
    found, target = _tilted("softmax")
    gap = float((found - target).abs().sum(-1).max()) / 2
    return Claim("softmax weights: total variation from e^(+-r)/Z", PAPER, gap, 1e-12,
                 detail="each response drawn by its probability")  # fmt: skip


def length_normalised_weights_are_not() -> Claim:
    """Length-normalised weights tend to another distribution."""
    found, target = _tilted("length_normalised")
    gap = float((found - target).abs().sum(-1).min()) / 2
    return Claim("length-normalised weights: the same distance", OURS, gap, 0.05, ">=", detail="6 responses")


def softmax_weights_by_hand() -> Claim:
    """w_i = G e^(r_i)/pi_old_i / sum_j e^(r_j)/pi_old_j above the mean, and with e^(-r) below, in one group."""
    generator = np.random.default_rng(0)
    worst = 0.0
    for _ in range(8):
        rewards, old = generator.normal(size=6), generator.normal(scale=2.0, size=6)
        groups = GroupBatch.of_equal_size(torch.from_numpy(rewards), 6, torch.from_numpy(old))
        advantages = rewards - rewards.mean()
        found = group_weights(groups, torch.from_numpy(advantages), "softmax").numpy()
        raised, lowered = np.exp(rewards - old), np.exp(-rewards - old)
        expected = 6 * np.where(advantages > 0, raised / raised.sum(), lowered / lowered.sum())
        worst = max(worst, float(np.abs(found / expected - 1).max()))
    return Claim("softmax weights: relative error of their formula", PAPER, worst, 1e-12, detail="8 groups")


def softmax_weights_break_the_proportion() -> Claim:
    """Softmax weights give the branches unequal mass, so -L is not a multiple of D_f.

    Measured on f-grpo's own loss at the optimum of Jensen-Shannon: positive and negative part of -L.
    """
    generator = torch.Generator().manual_seed(0)
    gaps = []
    for _ in range(8):
        rewards = torch.rand(8, generator=generator, dtype=torch.float64)
        old = 5 * torch.randn(8, generator=generator, dtype=torch.float64)
        groups = GroupBatch.of_equal_size(rewards, 8, old)
        good = rewards > rewards.mean()
        v = torch.where(good, FAR, -FAR).double()
        parts = []
        for side in (good, ~good):
            # At v = 0 both branches of Jensen-Shannon are 0, so only one side contributes.
            objective = get_objective("f-grpo", divergence="jensen_shannon", weighting="softmax")
            parts.append(-float(rollout_loss(objective, groups, torch.where(side, 10 * v, 0.0), 0 * v, old)))
        gaps.append(abs(math.log(parts[0] / parts[1])))
    return Claim("softmax weights: mean |log| of the branches' masses", OURS, sum(gaps) / len(gaps), 0.5, ">=",
                 detail="0 with uniform weights; 8 groups, log pi_old with deviation 5 nats")  # fmt: skip


def uniform_weights_keep_the_proportion() -> Claim:
    """With uniform weights both branches of f-grpo have the mass E|a|/2."""
    worst = 0.0
    for seed in range(4):
        rewards = torch.rand(8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        groups = GroupBatch.of_equal_size(rewards, 8)
        objective = get_objective("f-grpo", divergence="jensen_shannon", advantage=EXACT)
        good = rewards > rewards.mean()
        v = 10 * torch.where(good, FAR, -FAR).double()
        parts = [float(rollout_loss(objective, groups, torch.where(side, v, 0.0), 0 * v)) for side in (good, ~good)]
        worst = max(worst, abs(parts[0] / parts[1] - 1))
    return Claim("uniform weights: ratio of the branches' masses - 1", OURS, worst, 1e-12, detail="4 groups")


#: Objective, options, and the power k of the standard deviation in its gradient c sigma^k grad E[r].
DIAL: tuple[tuple[str, dict[str, Any], int, float], ...] = (
    ("grpo", {"beta": 0.0, "advantage": EXACT}, -1, 1.0),
    ("dapo", {"advantage": EXACT}, -1, 1.0),
    ("dr-grpo", {"aggregation": {"name": "constant-length", "length": 5}}, 0, 0.2),
)


def one_dial_of_the_deviation() -> Claim:
    """On policy grpo, dapo and dr-grpo follow c sigma^k grad E[r] of a prompt: k = -1, -1 and 0.

    On responses of one token and one prompt, where dapo's token mean is the mean over responses.
    """
    worst = 0.0
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        counts = torch.randint(1, 6, (5,), generator=generator)
        rewards = torch.randn(5, generator=generator, dtype=torch.float64) * 3.0**seed
        rows, n = torch.repeat_interleave(torch.arange(5), counts), int(counts.sum())
        policy = counts.double().numpy() / n
        mean = (policy * rewards.numpy()).sum()
        slope = policy * (rewards.numpy() - mean)  # grad E[r] in the logits of a softmax
        deviation = math.sqrt((policy * (rewards.numpy() - mean) ** 2).sum())
        for name, options, power, factor in DIAL:
            logits = torch.from_numpy(np.log(policy)).requires_grad_(True)
            logps = torch.log_softmax(logits, 0)[rows]
            groups = GroupBatch.of_equal_size(rewards[rows], n, logps)
            loss = rollout_loss(get_objective(name, **options), groups, logps, logps.detach(), logps.detach())
            (found,) = torch.autograd.grad(loss, logits)
            expected = -factor * deviation**power * slope
            worst = max(worst, float(np.abs(found.numpy() - expected).max() / np.abs(expected).max()))
    name = "grpo, dapo, dr-grpo: gradient = c sigma^k grad E[r]"
    return Claim(name, OURS, worst, 1e-12, detail="k = -1, -1, 0; 4 prompts")


CLAIMS = (
    constant_at_finite_size,
    constant_by_hand,
    softmax_weights_by_hand,
    softmax_weights_are_consistent,
    length_normalised_weights_are_not,
    softmax_weights_break_the_proportion,
    uniform_weights_keep_the_proportion,
    one_dial_of_the_deviation,
)
