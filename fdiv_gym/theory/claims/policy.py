"""Claims on the policy update of f-GRPO: monotone reward, no probability mass below the average."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from fdiv_gym.divergences.base import Divergence, get_divergence
from fdiv_gym.functional import rollout_loss
from fdiv_gym.objectives.base import get_objective
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.subjects import OURS, PAPER, divergences
from fdiv_gym.theory.tabular import Table, next_policy, random_table, tilt, train_tabular
from fdiv_gym.theory.tabular.critic import fitted_critic

KINDS = ("real", "binary", "tied", "equal")
BETA = 0.1
EXACT = {"name": "group", "eps": 0.0}
#: The six divergences of the paper, and how many tables each climbs.
SIX = ("kl", "reverse_kl", "pearson", "hellinger", "jensen_shannon", "total_variation")
TABLES = 24
#: First steps with overlapping supports.
STEPS = 4000


def _counted_tables() -> list[Table]:
    """Tables whose reference probabilities are k/n, so that a group of n rows has them as its averages."""
    generator, found = torch.Generator().manual_seed(0), []
    for k in range(TABLES):
        table = random_table(generator, 2 + k % 7, KINDS[k % 4])
        counts = torch.randint(1, 4, (len(table.rewards),), generator=generator).double()
        found.append(Table(counts / counts.sum(), table.rewards))
    return found


def best_critics(tables: Sequence[Table], policies: Sequence[Tensor], name: str) -> list[Tensor]:
    """The critics [n] that minimise the loss of the registered ``f-grpo`` on one group for each table.

    Each policy is the reference restricted to some responses; a response appears in its group by its probability.
    """
    rows, rewards, index, offset = [], [], [], 0
    for k, (table, policy) in enumerate(zip(tables, policies, strict=True)):
        least = float(policy[policy > 0].min())
        # Restrictions of k/n keep the proportions of whole numbers below 4: twelve copies make them whole.
        counts = torch.round(12 * policy / least).long()
        rows.append(torch.repeat_interleave(torch.arange(len(policy)), counts) + offset)
        rewards.append(torch.repeat_interleave(table.rewards, counts))
        index.append(torch.full((int(counts.sum()),), k))
        offset += len(policy)
    row, n = torch.cat(rows), offset
    reward = torch.cat(rewards)
    zeros = torch.zeros_like(reward)
    groups = GroupBatch(reward, torch.cat(index), zeros, torch.ones_like(row))
    objective = get_objective("f-grpo", divergence=name, beta=BETA, advantage=EXACT)

    def loss(v: Tensor) -> Tensor:
        return rollout_loss(objective, groups, v[row] / BETA, zeros)

    sizes = [len(policy) for policy in policies]
    return list(torch.split(fitted_critic(loss, n, reach=60.0, rounds=30), sizes))


def _after(table: Table, policy: Tensor, critic: Tensor) -> Tensor:
    """pi_ref exp(v/beta)/Z. Responses that the policy does not produce have no v: they stay at probability 0."""
    if bool((table.rewards[policy > 0] == table.rewards[policy > 0][0]).all()):
        return policy
    at_average = table.advantages(policy) == 0
    critic = torch.where(at_average, 0.0, critic)  # no gradient: v keeps its value of the reference
    after = tilt(table.reference, torch.where(policy > 0, critic, -torch.inf), BETA)
    return torch.where(after < 1e-9, 0.0, after)  # e^(-20) and less, of e^(-v/beta)


@cache
def _climbs() -> list[tuple[list[float], float]]:
    """Rewards along the update, and the best possible reward: 24 tables for each of six divergences."""
    tables, found = _counted_tables(), []
    for name in SIX:
        policies = [table.reference for table in tables]
        rewards = [[table.average(policy)] for table, policy in zip(tables, policies, strict=True)]
        for _ in range(6):
            critics = best_critics(tables, policies, name)
            policies = [_after(*each) for each in zip(tables, policies, critics, strict=True)]
            for path, table, policy in zip(rewards, tables, policies, strict=True):
                path.append(table.average(policy / policy.sum()))
        found += [(path, float(table.rewards.max())) for path, table in zip(rewards, tables, strict=True)]
    return found


def update_never_lowers_the_reward() -> Claim:
    """The policy of f-grpo's optimal critic never has a lower reward than the policy before it."""
    worst = max(b - a for rewards, _ in _climbs() for b, a in pairwise(rewards))
    name = "f-grpo minimised exactly: largest fall of the reward"
    detail = f"{TABLES} tables, 6 divergences, rewards real, binary, tied, equal"
    return Claim(name, PAPER, max(worst, 0.0), 1e-8, detail=detail)


def update_reaches_the_maximum() -> Claim:
    """Repeated, that update converges to the best reward."""
    gap = max(best - rewards[-1] for rewards, best in _climbs())
    name = "f-grpo minimised exactly: gap to the best reward"
    return Claim(name, PAPER, gap, 1e-8, detail=f"{TABLES} tables, 6 divergences, 6 steps")


def closed_form_is_the_optimum() -> Claim:
    """``next_policy``, the closed form, is the policy of f-grpo's optimal critic."""
    worst, tables = 0.0, _counted_tables()
    for name in SIX:
        critics = best_critics(tables, [table.reference for table in tables], name)
        for table, critic in zip(tables, critics, strict=True):
            closed = next_policy(table, table.reference, get_divergence(name), BETA)
            worst = max(worst, float((_after(table, table.reference, critic) - closed).abs().max()))
    name = "closed-form update - policy of the optimal critic"
    return Claim(name, PAPER, worst, 1e-8, detail=f"{TABLES} tables, 6 divergences, from the reference")


def _overlapping(generator: torch.Generator, k: int) -> tuple[Table, Tensor]:
    """A table and a ratio dD+/dD- [n] of overlapping supports that rises with the reward.

    Even k: D+ and D- of f-GRPO, each mixed with the policy. Odd k: soft labels, a response is good with the
    probability sigmoid(slope (r - mean)).
    """
    table = random_table(generator, 2 + k % 11, KINDS[k % 4])
    if k % 2:
        slope = 10 ** (2 * torch.rand((), generator=generator, dtype=torch.float64) - 1)
        label = torch.sigmoid(slope * (table.rewards - table.average(table.reference)))
        good, bad = table.reference * label, table.reference * (1 - label)
        return table, (good / good.sum()) / (bad / bad.sum())
    above, below, _ = table.sides(table.reference)
    overlap = 10 ** (4 * torch.rand((), generator=generator, dtype=torch.float64) - 3)
    return table, (above + overlap * table.reference) / (below + overlap * table.reference)


def overlapping_supports() -> Claim:
    """With overlapping supports the first step of the closed form never lowers the reward."""
    generator, subjects, fall = torch.Generator().manual_seed(9), divergences(), 0.0
    for k in range(STEPS):
        table, ratio = _overlapping(generator, k)
        critic = subjects[k % len(subjects)].critic(ratio)
        after = table.average(tilt(table.reference, critic, (0.1, 1.0)[k % 2]))
        fall = max(fall, table.average(table.reference) - after)
    name = "overlapping supports: largest fall in the first step"
    return Claim(name, OURS, fall, 1e-12, detail=f"{STEPS} steps, every divergence, mixed and soft-labelled sides")


def canonical_links_leave_nothing_below() -> Claim:
    """As the common part of the supports vanishes, so does the mass below the average reward."""
    generator, worst = torch.Generator().manual_seed(1), 0.0
    subjects = [divergence for divergence in divergences() if divergence.canonical]
    for _ in range(20):
        table = random_table(generator)
        for divergence in subjects:
            worst = max(worst, _mass_below(table, divergence, 0.1, 1e-9))
    detail = f"{len(subjects)} divergence-link pairs, overlap 1e-9, beta 0.1"
    return Claim("mass below average after a step, canonical links", PAPER, worst, 1e-9, detail=detail)


def other_links_leave_some() -> Claim:
    """Total variation with the link g(v) = v reaches f'(inf) = 1/2 at v = 1/2: odds fall by e^(-1/beta) only."""
    generator, worst = torch.Generator().manual_seed(2), 0.0
    for beta in (0.5, 1.0, 2.0):
        table = random_table(generator)
        above = table.rewards > table.average(table.reference)
        after = tilt(table.reference, torch.where(above, 0.5, -0.5).double(), beta)
        odds = _odds(after, above) / _odds(table.reference, above)
        worst = max(worst, abs(odds - float(torch.tensor(-1 / beta, dtype=torch.float64).exp())))
    name = "not canonical: odds below average shrink by e^(-1/beta)"
    return Claim(name, PAPER, worst, 1e-12, detail="total variation with g(v) = v on |v| <= 1/2")


def gradient_steps_that_lower_the_reward() -> Claim:
    """The guarantee is for the closed form; sampled gradient steps sometimes lower the reward."""
    generator = torch.Generator().manual_seed(3)
    tables = [random_table(generator, 12, "real") for _ in range(4)]
    falls = steps = 0
    for seed in range(4):
        run = train_tabular(get_objective("f-grpo"), tables, steps=50, group_size=8, rate=0.5, seed=seed)
        falls, steps = falls + run.falls, steps + 50
    name = "sampled gradient training: share of steps that fall"
    return Claim(name, OURS, falls / steps, None, detail="G = 8, Adam at 0.5: the guarantee is for the closed form")


def _mass_below(table: Table, divergence: Divergence, beta: float, overlap: float) -> float:
    above, below, _ = table.sides(table.reference)
    ratio = (above + overlap * table.reference) / (below + overlap * table.reference)
    after = tilt(table.reference, divergence.critic(ratio), beta)
    return float(after[table.rewards < table.average(table.reference)].sum())


def _odds(policy: Tensor, above: Tensor) -> float:
    return float(policy[~above].sum() / policy[above].sum())


CLAIMS = (
    update_never_lowers_the_reward,
    update_reaches_the_maximum,
    closed_form_is_the_optimum,
    overlapping_supports,
    canonical_links_leave_nothing_below,
    other_links_leave_some,
)

MEASUREMENTS = (gradient_steps_that_lower_the_reward,)
