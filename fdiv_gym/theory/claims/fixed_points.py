"""Claims on GRPO without clipping: its fixed points, with an exact KL and with k3 as a loss; and its unbiased terms."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fdiv_gym.divergences.base import Divergence
from fdiv_gym.functional import rollout_loss
from fdiv_gym.objectives.base import get_objective
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.registry.lookup import list_entries
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.subjects import OURS, divergences
from fdiv_gym.theory.tabular import Table, grpo_fixed_point, grpo_gradient
from fdiv_gym.theory.tabular.grpo import Penalty

NAMES: dict[Penalty, str] = {"exact": "pi ~ pi_ref exp((r-mu)/(beta sigma))", "k3": "pi = pi_ref/(1 - A/beta)"}


def _cases(penalty: Penalty) -> Iterator[tuple[Table, float]]:
    """Tables at beta = 1 and above on which a fixed point exists.

    Beta must not be small: the standardised advantage of a rare success grows as 1/sigma. At beta = 1
    successes must initially be rare for the exact KL, and frequent for k3, whose A must stay below beta.
    """
    binary = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    rare = torch.tensor([0.5, 0.35, 0.1, 0.05], dtype=torch.float64)
    yield Table(rare if penalty == "exact" else rare.flip(0), binary), 1.0
    generator = torch.Generator().manual_seed(0)
    for beta in (3.0, 4.0, 8.0):
        reference = torch.softmax(torch.randn(6, generator=generator, dtype=torch.float64) / 2, 0)
        yield Table(reference, torch.rand(6, generator=generator, dtype=torch.float64)), beta


def _descend(table: Table, beta: float, penalty: Penalty) -> Tensor:
    """Natural-gradient descent from the reference; in logits that is the gradient divided by pi."""
    policy = table.reference
    for _ in range(600):
        policy = torch.softmax(policy.log() - 0.1 / beta * grpo_gradient(table, policy, beta, penalty) / policy, 0)
    return policy


def _fixed_point(penalty: Penalty) -> Claim:
    worst = 0.0
    for table, beta in _cases(penalty):
        policy = grpo_fixed_point(table, beta, penalty)
        worst = max(worst, float(grpo_gradient(table, policy, beta, penalty).abs().max()))
    kind = "exact KL" if penalty == "exact" else "k3 as a loss"
    return Claim(f"GRPO, {kind}: gradient at {NAMES[penalty]}", OURS, worst, 1e-10, detail="4 tables, beta 1 to 8")


def exact_fixed_point() -> Claim:
    """The gradient vanishes at the self-consistent point of the exact reverse KL."""
    return _fixed_point("exact")


def k3_fixed_point() -> Claim:
    """With k3 as a loss, the gradient vanishes at another point."""
    return _fixed_point("k3")


def _reached(penalty: Penalty) -> Claim:
    worst = 0.0
    for table, beta in _cases(penalty):
        found = _descend(table, beta, penalty)
        worst = max(worst, float((found - grpo_fixed_point(table, beta, penalty)).abs().max()))
    kind = "exact KL" if penalty == "exact" else "k3 as a loss"
    return Claim(f"GRPO, {kind}: descent ends at that policy", OURS, worst, 1e-6, detail="4 tables, from the reference")


def exact_is_reached() -> Claim:
    """Gradient descent from the reference converges to that point."""
    return _reached("exact")


def k3_is_reached() -> Claim:
    """Gradient descent from the reference converges to that point."""
    return _reached("k3")


def k3_is_not_the_kl() -> Claim:
    """The two policies differ: k3 as a loss is not a KL penalty."""
    table = Table(torch.full((4,), 0.25, dtype=torch.float64), torch.tensor([0.0, 0.2, 0.5, 1.0]).double())
    gap = (grpo_fixed_point(table, 3.0, "exact") - grpo_fixed_point(table, 3.0, "k3")).abs().sum() / 2
    return Claim("total variation between the two fixed points", OURS, float(gap), 0.01, ">=", detail="beta 3, n = 4")


def registered_grpo() -> Claim:
    """The registered objective ``grpo`` has zero gradient at the k3 point, on a group distributed like the policy."""
    name = "registered grpo: gradient at its k3 fixed point"
    if "grpo" not in [entry.name for entry in list_entries("objective")]:
        return Claim(name, OURS, 0.0, None, detail="no objective 'grpo' is installed")
    counts = torch.tensor([5, 3, 6, 2])
    policy = counts.double() / 16
    rewards = torch.tensor([0.1, 1.0, 0.4, 0.7], dtype=torch.float64)
    beta = 3.0
    # The group contains each response in proportion to its probability, so the reference whose fixed
    # point is the policy has a closed form: pi_ref = pi (1 - A/beta).
    reference = policy * (1 - Table(policy, rewards).advantages(policy) / beta)
    drawn = torch.repeat_interleave(torch.arange(4), counts)
    objective = get_objective("grpo", beta=beta, advantage={"name": "group", "eps": 0.0})
    logits = policy.log().requires_grad_(True)
    groups = GroupBatch.of_equal_size(rewards[drawn], 16, policy.log()[drawn])
    logps = torch.log_softmax(logits, 0)[drawn]
    loss = rollout_loss(objective, groups, logps, reference.log()[drawn], policy.log()[drawn])
    (gradient,) = torch.autograd.grad(loss, logits)
    assert math.isclose(float(reference.sum()), 1.0)
    return Claim(name, OURS, float(gradient.abs().max()), 1e-12, detail="16 responses, beta 3")


def _log_ratio_of_slope(divergence: Divergence, slopes: Tensor) -> Tensor:
    """The w with f'(e^w) = ``slopes``, [n] fp64, by bisection."""
    low, high = torch.full_like(slopes, -30.0), torch.full_like(slopes, 30.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = divergence.slope(middle) < slopes
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def _reference_of(policy: Tensor, advantages: Tensor, divergence: Divergence, coefficient: float) -> Tensor:
    """The reference [n] for which c f'(pi/pi_ref) - A is the same number for every response."""
    low, high = -1.0, 1.0
    for _ in range(60):  # the number is found by bisection: the reference must add up to 1
        level = (low + high) / 2
        slopes = divergence.slope(torch.zeros_like(policy)) + level + advantages / coefficient
        reference = policy * torch.exp(-_log_ratio_of_slope(divergence, slopes))
        low, high = (low, level) if float(reference.sum()) < 1 else (level, high)
    return reference


def registered_penalty() -> Claim:
    """Registered ``grpo`` with a divergence penalty: no gradient where c f'(pi/pi_ref) - A is constant."""
    name = "registered grpo with penalty: gradient at fixed points"
    if "grpo" not in [entry.name for entry in list_entries("objective")]:
        return Claim(name, OURS, 0.0, None, detail="no objective 'grpo' is installed")
    counts = torch.tensor([5, 3, 6, 2])
    policy, coefficient = counts.double() / 16, 8.0
    rewards = torch.tensor([0.1, 1.0, 0.4, 0.7], dtype=torch.float64)
    advantages = Table(policy, rewards).advantages(policy)
    drawn = torch.repeat_interleave(torch.arange(4), counts)
    groups = GroupBatch.of_equal_size(rewards[drawn], 16, policy.log()[drawn])
    worst, count = 0.0, 0
    # Total variation has a kink, and no policy at which its slope takes a given value.
    subjects = {d.registered_name(): d for d in divergences() if d.registered_name() != "total_variation"}
    for divergence in subjects.values():  # the link plays no part
        reference = _reference_of(policy, advantages, divergence, coefficient)
        objective = get_objective(
            "grpo", beta=0.0, penalty=divergence, penalty_coefficient=coefficient,
            advantage={"name": "group", "eps": 0.0},
        )  # fmt: skip
        logits = policy.log().requires_grad_(True)
        logps = torch.log_softmax(logits, 0)[drawn]
        loss = rollout_loss(objective, groups, logps, reference.log()[drawn], policy.log()[drawn])
        (gradient,) = torch.autograd.grad(loss, logits)
        worst, count = max(worst, float(gradient.abs().max())), count + 1
    return Claim(name, OURS, worst, 1e-10, detail=f"{count} divergences, coefficient 8, 16 responses")


def unbiased_k3() -> Claim:
    """Registered ``grpo`` with ``unbiased_k3``: off the sampling policy, the gradient of KL(pi || pi_ref)."""
    name = "registered grpo, unbiased_k3: gradient - gradient of KL"
    if "grpo" not in [entry.name for entry in list_entries("objective")]:
        return Claim(name, OURS, 0.0, None, detail="no objective 'grpo' is installed")
    counts, beta = torch.tensor([5, 3, 6, 2]), 3.0
    # The group contains each response in proportion to its old probability: the sum is the expectation.
    drawn, old = torch.repeat_interleave(torch.arange(4), counts), counts.double() / 16
    groups = GroupBatch.of_equal_size(torch.ones(16, dtype=torch.float64), 16, old.log()[drawn])
    objective = get_objective("grpo", beta=beta, unbiased_k3=True)
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for _ in range(20):
        logits, base = torch.randn(2, 4, generator=generator, dtype=torch.float64)
        logits, reference = logits.requires_grad_(True), torch.log_softmax(base, 0)
        logps = torch.log_softmax(logits, 0)
        loss = rollout_loss(objective, groups, logps[drawn], reference[drawn], old.log()[drawn])
        divergence = beta * (logps.exp() * (logps - reference)).sum()
        (got,), (expected,) = (torch.autograd.grad(value, logits, retain_graph=True) for value in (loss, divergence))
        worst = max(worst, float((got - expected).abs().max()))
    return Claim(name, "arXiv 2512.02556", worst, 1e-10, detail="20 random policies and references, beta 3")


CLAIMS = (
    exact_fixed_point,
    k3_fixed_point,
    exact_is_reached,
    k3_is_reached,
    k3_is_not_the_kl,
    registered_grpo,
    registered_penalty,
    unbiased_k3,
)
