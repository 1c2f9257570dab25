"""Claims on the f-GRPO objective: its value, its gradient at the reference, its weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fdiv_gym.divergences.base import Divergence, get_divergence
from fdiv_gym.functional import rollout_loss
from fdiv_gym.objectives.base import get_objective
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.subjects import OURS, PAPER, divergences, relative
from fdiv_gym.theory.tabular import Table, attained

BETA = 0.1
EXACT = {"name": "group", "eps": 0.0}
FAR = 60.0


def _group(seed: int, size: int = 8) -> tuple[Table, GroupBatch]:
    """A group of all responses of a uniform table, whose averages are expectations."""
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(size, generator=generator, dtype=torch.float64)
    table = Table(torch.full((size,), 1 / size, dtype=torch.float64), rewards)
    return table, GroupBatch.of_equal_size(rewards, size)


def _loss(divergence: Divergence, groups: GroupBatch, v: Tensor) -> Tensor:
    """The f-GRPO loss at implicit rewards ``v``, by the registered objective."""
    objective = get_objective("f-grpo", divergence=divergence, beta=BETA, advantage=EXACT)
    return rollout_loss(objective, groups, v / BETA, torch.zeros_like(v))


def _constant(mass: float) -> float:
    return mass / (1 + 1 / BETA)


def loss_is_the_variational_form() -> Claim:
    """-L(v) = E|a|/2/(1 + 1/beta) (E_{D+}[g(v)] - E_{D-}[f*(g(v))]) for any v and any divergence."""
    worst, generator, subjects = 0.0, torch.Generator().manual_seed(0), divergences()
    for seed in range(4):
        table, groups = _group(seed)
        above, below, mass = table.sides(table.reference)
        v = torch.randn(8, generator=generator, dtype=torch.float64)
        for divergence in subjects:
            expected = _constant(mass) * attained(divergence, above, below, v)
            worst = max(worst, relative(-_loss(divergence, groups, v), expected))
    name = "-L = E|a|/2/(1+1/beta) times the variational form"
    return Claim(name, PAPER, worst, 1e-12, detail=f"{len(subjects)} divergence-link pairs, random v")


def optimum_is_proportional_to_the_divergence() -> Claim:
    """``sup -L`` = E|a|/2/(1 + 1/beta) D_f(D+||D-), for divergences that are finite on disjoint supports."""
    worst, count = 0.0, 0
    table, groups = _group(7)
    above, below, mass = table.sides(table.reference)
    v = torch.where(above > 0, FAR, -FAR).double()
    for divergence in divergences():
        exact = float(divergence.exact(above, below))
        if math.isfinite(exact):
            count += 1
            worst = max(worst, abs(float(-_loss(divergence, groups, v)) / (_constant(mass) * exact) - 1))
    name = "sup -L / D_f(D+||D-) = E|a|/2/(1+1/beta), bounded f"
    return Claim(name, PAPER, worst, 1e-6, detail=f"{count} pairs; uniform weights")


def unbounded_divergences_have_no_optimum() -> Claim:
    """For kl, reverse_kl and pearson D_f is infinite on disjoint supports: -L is unbounded in v."""
    table, groups = _group(7)
    above = table.sides(table.reference)[0]
    growth = math.inf
    for name in ("kl", "reverse_kl", "pearson"):
        divergence = get_divergence(name)
        lowest = divergence.link_in_use.negative_from  # Pearson's negative branch has its minimum at -2
        near, far = (torch.where(above > 0, x, max(-x, lowest)).double() for x in (10.0, 20.0))
        growth = min(growth, float(_loss(divergence, groups, near) - _loss(divergence, groups, far)))
    name = "kl, reverse_kl, pearson: growth of -L, |v| 10 to 20"
    return Claim(name, OURS, growth, 0.1, ">=", detail="the guarantee does not cover them on disjoint supports")


def gradient_at_the_reference() -> Claim:
    """Calibrated links: grad L = (beta + gamma) g'(0)/(1 + 1/beta) grad[-mean(a log pi)], any divergence."""
    worst, subjects = 0.0, divergences(calibrated=True)
    generator = torch.Generator().manual_seed(4)
    rewards = torch.rand(12, generator=generator, dtype=torch.float64)
    reference = torch.randn(12, generator=generator, dtype=torch.float64)
    groups = GroupBatch.of_equal_size(rewards, 4, reference)
    by_group = rewards.view(3, 4)
    centred = by_group - by_group.mean(1, keepdim=True)
    advantages = (centred / (centred.pow(2).mean(1, keepdim=True).sqrt() + 1e-6)).flatten()
    for divergence in subjects:
        zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (pull,) = torch.autograd.grad(divergence.positive(zero), zero)
        for gamma in (0.0, 1.0):
            options = {"divergence": divergence, "beta": BETA, "gamma": gamma}
            objective = get_objective("f-grpo", **options)
            logps = reference.clone().requires_grad_(True)
            loss = rollout_loss(objective, groups, logps, reference, reference)
            (found,) = torch.autograd.grad(loss, logps)
            expected = -(BETA + gamma) * pull / (1 + 1 / BETA) * advantages / 12
            worst = max(worst, float((found - expected).norm() / expected.norm()))
    name = "gradient at the reference = scaled policy gradient"
    return Claim(name, OURS, worst, 1e-12, detail=f"{len(subjects)} calibrated pairs, gamma 0 and 1")


def gamma_mixes_reference_and_old() -> Claim:
    """With gamma the optimal policy is pi_ref^(beta/(beta+gamma)) pi_old^(gamma/(beta+gamma)) exp(v/(beta+gamma)).

    At this policy, normalised by Z, every implicit reward is v - (beta + gamma) log Z; pi_old is not pi_ref.
    """
    worst, generator, subjects = 0.0, torch.Generator().manual_seed(6), divergences()
    for k, divergence in enumerate(subjects):
        gamma = (0.05, 0.3, 1.0)[k % 3]
        table, groups = _group(k)
        v, old, ref = torch.randn(3, 8, generator=generator, dtype=torch.float64)
        old, ref = torch.log_softmax(old, 0), torch.log_softmax(ref, 0)
        mixed = (BETA * ref + gamma * old + 0.3 * v) / (BETA + gamma)
        normaliser = torch.logsumexp(mixed, 0)
        above, below, mass = table.sides(table.reference)
        expected = _constant(mass) * attained(divergence, above, below, 0.3 * v - (BETA + gamma) * normaliser)
        objective = get_objective("f-grpo", divergence=divergence, beta=BETA, gamma=gamma, advantage=EXACT)
        found = -rollout_loss(objective, groups, mixed - normaliser, ref, old)
        worst = max(worst, relative(found, expected))
    name = "gamma: policy mixes pi_ref and pi_old, any v"
    return Claim(name, OURS, worst, 1e-12, detail=f"{len(subjects)} divergence-link pairs, 3 gammas")


CLAIMS = (
    loss_is_the_variational_form,
    optimum_is_proportional_to_the_divergence,
    unbounded_divergences_have_no_optimum,
    gradient_at_the_reference,
    gamma_mixes_reference_and_old,
)
