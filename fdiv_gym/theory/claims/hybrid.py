"""Claims on f-HAL: its limits lam = 0 and lam = 1, its gradient, its first step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from fdiv_gym.objectives.base import Stream, get_objective
from fdiv_gym.testing.steps import evaluate, make_step
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.objectives import as_data
from fdiv_gym.theory.claims.subjects import OURS, PAPER, divergences, relative
from fdiv_gym.theory.formulas.alignment import f_grpo, f_hal, fdo
from fdiv_gym.theory.formulas.data import central_differences
from fdiv_gym.theory.tabular import Table, hybrid_sides, random_table, tilt

SIX = ("kl", "reverse_kl", "pearson", "hellinger", "jensen_shannon", "total_variation")
CASES = 1000


def _gap(lam: float, stream: Stream | None) -> float:
    """The largest relative difference between f-hal and formulas in numpy, in value and gradient.

    Args:
        lam: the weight of the preferences.
        stream: the only stream that may be read; None allows both.
    """
    worst, step = 0.0, make_step(seed=3)
    data = as_data(step)
    for name in SIX:
        found = evaluate(get_objective("f-hal", lam=lam, divergence=name), step)
        if stream is not None and set(found.gradients) != {stream}:
            return float("inf")  # a stream of weight 0 was read
        on, off = f_grpo(data, data, divergence=name), fdo(data, data, divergence=name)
        worst = max(worst, relative(found.value, (1 - lam) * on + lam * off))
        slopes = {
            "rollouts": (1 - lam) * central_differences(lambda d, n=name: f_grpo(d, d, divergence=n), data, "rollouts"),  # type: ignore[misc]
            "preferences": lam * central_differences(lambda d, n=name: fdo(d, d, divergence=n), data, "preferences"),  # type: ignore[misc]
        }
        for read, gradient in found.gradients.items():
            slope = torch.from_numpy(slopes[read])
            worst = max(worst, float((gradient - slope).norm() / slope.norm()))
    return worst


def no_preferences() -> Claim:
    """With lam = 0 f-hal is the formula of f-grpo, and reads no preferences."""
    return Claim(
        "f-hal, lam 0: formula of f-grpo, one stream", PAPER, _gap(0.0, "rollouts"), 1e-6, detail="6 divergences"
    )


def no_rollouts() -> Claim:
    """With lam = 1 f-hal is the formula of fdo, and reads no rollouts."""
    return Claim(
        "f-hal, lam 1: formula of fdo, one stream", PAPER, _gap(1.0, "preferences"), 1e-6, detail="6 divergences"
    )


def gradient_is_mixed() -> Claim:
    """In between, each stream's gradient is that of its formula times 1 - lam or lam, each with its own denominator."""
    worst = max(_gap(lam, None) for lam in (0.1, 0.7))
    return Claim("f-hal: (1-lam) f-grpo + lam fdo, each by formula", PAPER, worst, 1e-6, detail="6 divergences, 2 lam")


def schedule_of_lam() -> Claim:
    """With lam_end, lam is lam + (step - 1)/(steps - 1) (lam_end - lam): by formula at steps 1, 4 and 9 of 9."""
    worst, step = 0.0, make_step(seed=5)
    data = as_data(step)
    for number, lam in ((1, 0.2), (4, 0.425), (9, 0.8)):
        objective = get_objective("f-hal", lam=0.2, lam_end=0.8)
        objective.at_step(number, 9)
        worst = max(worst, relative(evaluate(objective, step).value, f_hal(data, data, lam=lam)))
    return Claim("f-hal: value along the schedule of lam", OURS, worst, 1e-12, detail="steps 1, 4, 9 of 9")


def _cases(agreeing: bool) -> Iterator[tuple[Table, Tensor, Tensor, float]]:
    """Tables with preferences; ``agreeing``: their ratio below the average reward is never larger than above it."""
    generator = torch.Generator().manual_seed(5)
    for k in range(CASES):
        table = random_table(generator, 3 + k % 8, ("real", "binary", "tied")[k % 3])
        rejected = torch.softmax(torch.randn(len(table.rewards), generator=generator, dtype=torch.float64), 0)
        log_ratio = torch.randn(len(table.rewards), generator=generator, dtype=torch.float64)
        above = table.rewards > table.average(table.reference)
        if agreeing:
            log_ratio = torch.where(above, log_ratio.abs(), -log_ratio.abs())
        chosen = rejected * log_ratio.exp()
        lam = float(torch.rand((), generator=generator)) * 0.98 + 0.01
        yield table, chosen / chosen.sum(), rejected, lam


def _first_steps(agreeing: bool) -> list[float]:
    """Gains in average reward of the first closed-form step from the reference."""
    gains, subjects = [], divergences()
    for k, (table, chosen, rejected, lam) in enumerate(_cases(agreeing)):
        beta = (0.1, 1.0)[k % 2]
        left, right = hybrid_sides(table, table.reference, chosen, rejected, lam, beta)
        critic = subjects[k % len(subjects)].critic(left / right)
        gains.append(table.average(tilt(table.reference, critic, beta)) - table.average(table.reference))
    return gains


def first_step_is_guaranteed() -> Claim:
    """From pi_ref the reward rises if the preference ratio is never larger below the average than above."""
    fall = max(0.0, -min(_first_steps(agreeing=True)))
    name = "f-hal: largest fall in the first step, agreeing data"
    return Claim(name, PAPER, fall, 1e-12, detail=f"{CASES} cases, all divergences")


def first_step_without_the_condition() -> Claim:
    """Preferences that contradict the reward can lower it in the first step."""
    gains = _first_steps(agreeing=False)
    share = sum(gain < -1e-9 for gain in gains) / len(gains)
    name = "f-hal: share of first steps that fall, any data"
    return Claim(name, OURS, share, None, detail=f"{CASES} cases with random preferences: the condition is needed")


def later_steps() -> Claim:
    """There is no guarantee after the first step: the reward may oscillate below its maximum."""
    falls, subjects = [], divergences()
    for k, (table, chosen, rejected, lam) in enumerate(_cases(agreeing=True)):
        policy, rewards = table.reference, []
        for _ in range(6):
            left, right = hybrid_sides(table, policy, chosen, rejected, lam, 0.1)
            policy = tilt(table.reference, subjects[k % len(subjects)].critic(left / right), 0.1)
            rewards.append(table.average(policy))
        falls.append(max(a - b for a, b in pairwise(rewards)) > 1e-9)
    name = "f-hal: share of runs that fall in a later step"
    return Claim(name, OURS, sum(falls) / len(falls), None, detail=f"{CASES} cases, agreeing data, 6 steps")


CLAIMS = (
    no_preferences,
    no_rollouts,
    gradient_is_mixed,
    schedule_of_lam,
    first_step_is_guaranteed,
)

MEASUREMENTS = (
    first_step_without_the_condition,
    later_steps,
)
