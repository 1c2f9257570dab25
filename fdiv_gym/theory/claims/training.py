"""Claims on the registered objectives, minimised over a free critic on tables whose averages are exact.

A response that appears k times among n rows has probability k/n, so a mean over rows is an expectation. The critic is
v = beta (log pi - log pi_ref) with one free log pi for each response; log pi_ref is known.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fdiv_gym.functional import f_hal_loss, preference_loss
from fdiv_gym.objectives.base import Objective, get_objective
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.subjects import F_DO, OURS, PAPER, relative
from fdiv_gym.theory.formulas.branches import SIX, divergence_of
from fdiv_gym.theory.tabular import Table, hybrid_sides
from fdiv_gym.theory.tabular.critic import descended_critic, fitted_critic

SIZE = 5
#: g^-1(f'(rho)) for f-GAN's links; total variation has no finite optimum.
CRITICS: dict[str, Callable[[Tensor], Tensor]] = {
    "kl": lambda rho: 1 + rho.log(),
    "reverse_kl": torch.log,
    "pearson": lambda rho: 2 * (rho - 1),
    "hellinger": lambda rho: rho.log() / 2,
    "jensen_shannon": torch.log,
}


@dataclass(frozen=True)
class Case:
    """Preferences, rewards and a reference on one table; chosen and rejected have the same support.

    Args:
        chosen: [n] int64, how often each response was chosen.
        rejected: [n] int64, how often it was rejected.
        drawn: [n] int64, how often it is in the group of rollouts.
        rewards: [n] fp64.
        reference: [n] fp64 log pi_ref.
        beta: scale of v.
    """

    chosen: Tensor
    rejected: Tensor
    drawn: Tensor
    rewards: Tensor
    reference: Tensor
    beta: float

    @property
    def sides(self) -> tuple[Tensor, Tensor]:
        """D+ and D- of the preferences, [n] fp64 each."""
        return self.chosen / self.chosen.sum().double(), self.rejected / self.rejected.sum().double()

    def logps(self, v: Tensor) -> Tensor:
        """[n] log pi of which v is the implicit reward."""
        return self.reference + v / self.beta

    def preference_loss(self, objective: Objective, v: Tensor) -> Tensor:
        """The loss of an objective on the preferences, at critic v [n]."""
        good, bad, logps = rows_of(self.chosen), rows_of(self.rejected), self.logps(v)
        return preference_loss(objective, logps[good], self.reference[good], logps[bad], self.reference[bad])

    def hybrid_loss(self, divergence: str, lam: float, v: Tensor) -> Tensor:
        """The loss of f-hal on the preferences and the group, at critic v [n]."""
        good, bad, drawn = rows_of(self.chosen), rows_of(self.rejected), rows_of(self.drawn)
        logps, ref = self.logps(v), self.reference
        return f_hal_loss(
            logps[drawn], ref[drawn], self.rewards[drawn], len(drawn), logps[good], ref[good], logps[bad], ref[bad],
            divergence=divergence, beta=self.beta, lam=lam,
        )  # fmt: skip


def rows_of(counts: Tensor) -> Tensor:
    """The index of each response, repeated by its count."""
    return torch.repeat_interleave(torch.arange(len(counts)), counts)


def cases(count: int, seed: int) -> Iterator[Case]:
    """Random cases."""
    generator = torch.Generator().manual_seed(seed)
    for k in range(count):
        chosen, rejected, drawn = torch.randint(1, 7, (3, SIZE), generator=generator)
        rewards = torch.rand(SIZE, generator=generator, dtype=torch.float64)
        reference = torch.randn(SIZE, generator=generator, dtype=torch.float64) - 2
        yield Case(chosen, rejected, drawn, rewards, reference, (0.1, 0.5, 1.0)[k % 3])


def fdo_attains_the_divergence() -> Claim:
    """Fdo, minimised over a free critic, has -L = D_f(D+||D-)."""
    worst = 0.0
    for case in cases(2, seed=0):
        p, q = case.sides
        for name in SIX:
            objective = get_objective("fdo", divergence=name, beta=case.beta)
            best = fitted_critic(functools.partial(case.preference_loss, objective), SIZE)
            value = -case.preference_loss(objective, best)
            worst = max(worst, relative(value, divergence_of(name, p.numpy(), q.numpy())))
    return Claim("fdo trained on tables: -L = D_f(D+||D-)", PAPER, worst, 1e-9, detail="6 divergences, 2 tables")


def fdo_finds_the_density_ratio() -> Claim:
    """Fdo's optimal critic is g^-1(f'(dD+/dD-))."""
    worst = 0.0
    for case in cases(2, seed=1):
        p, q = case.sides
        for name, critic in CRITICS.items():
            objective = get_objective("fdo", divergence=name, beta=case.beta)
            best = fitted_critic(functools.partial(case.preference_loss, objective), SIZE)
            worst = max(worst, relative(best, critic(p / q)))
    return Claim(
        "fdo trained on tables: critic = g^-1(f'(ratio))", PAPER, worst, 1e-6, detail="5 divergences, 2 tables"
    )


def fdo_is_a_lower_bound() -> Claim:
    """At any critic -L of fdo is at most D_f(D+||D-)."""
    worst, generator = -np.inf, torch.Generator().manual_seed(2)
    for case in cases(6, seed=2):
        p, q = case.sides
        for name in SIX:
            objective = get_objective("fdo", divergence=name, beta=case.beta)
            exact = divergence_of(name, p.numpy(), q.numpy())
            near = CRITICS[name](p / q) if name in CRITICS else torch.zeros(SIZE, dtype=torch.float64)
            for scale in (1e-3, 0.3, 1.0, 3.0):  # from next to the optimum to far from it
                v = near + scale * torch.randn(SIZE, generator=generator, dtype=torch.float64)
                worst = max(worst, float(-case.preference_loss(objective, v)) - exact)
    return Claim("fdo: -L never exceeds D_f(D+||D-)", PAPER, worst, 1e-12, detail="6 divergences, 6 tables, 4 critics")


def _kldo(case: Case) -> tuple[float, Tensor]:
    objective = get_objective("kldo", beta=case.beta)
    best = descended_critic(lambda v: case.preference_loss(objective, v), SIZE)
    return -float(case.preference_loss(objective, best)), best


def kldo_attains_the_divergence() -> Claim:
    """Kldo, minimised over a free critic, has -L = KL(D+||D-)."""
    worst = 0.0
    for case in cases(6, seed=3):
        p, q = case.sides
        worst = max(worst, relative(_kldo(case)[0], divergence_of("kl", p.numpy(), q.numpy())))
    return Claim("kldo trained on tables: -L = KL(D+||D-)", F_DO, worst, 1e-9, detail="6 tables")


def kldo_finds_the_density_ratio() -> Claim:
    """Kldo's optimal critic is log dD+/dD- up to a constant."""
    worst = 0.0
    for case in cases(6, seed=4):
        p, q = case.sides
        difference = _kldo(case)[1] - (p / q).log()
        worst = max(worst, float(difference.max() - difference.min()))
    return Claim("kldo trained on tables: critic - log ratio", F_DO, worst, 1e-5, detail="6 tables; up to a constant")


def kldo_is_tighter_than_fdo() -> Claim:
    """At any critic kldo's bound is at least that of fdo with kl, by the inequality log x <= x - 1."""
    least, generator = np.inf, torch.Generator().manual_seed(5)
    for case in cases(6, seed=5):
        v = torch.randn(SIZE, generator=generator, dtype=torch.float64)
        options: dict[str, Any] = {"beta": case.beta}
        calibrated = get_objective("fdo", divergence={"name": "kl", "link": "calibrated"}, **options)
        gain = case.preference_loss(calibrated, v) - case.preference_loss(get_objective("kldo", **options), v)
        least = min(least, float(gain))
    return Claim(
        "kldo - fdo with kl: least gain of the bound", OURS, least, 0.0, ">=", detail="6 tables, random critics"
    )


def hybrid_measures(case: Case, lam: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The measures lam D_pref + (1 - lam)/(1 + 1/beta) E[a^+-] in numpy, [n] on either side."""
    chosen, rejected = (x.numpy() / x.sum().item() for x in (case.chosen, case.rejected))
    policy, rewards = case.drawn.numpy() / case.drawn.sum().item(), case.rewards.numpy()
    mean = (policy * rewards).sum()
    a = (rewards - mean) / np.sqrt((policy * (rewards - mean) ** 2).sum())
    weight = (1 - lam) / (1 + 1 / case.beta) * policy
    return lam * chosen + weight * np.maximum(a, 0), lam * rejected + weight * np.maximum(-a, 0)


LAMS = dict(zip(SIX, (0.2, 0.4, 0.5, 0.6, 0.8, 0.9), strict=True))


@cache
def _hybrids() -> list[tuple[Case, str, Tensor]]:
    """The optimal critics of f-hal: case, divergence, v [n]."""
    found = []
    for case in cases(2, seed=6):
        for name, lam in LAMS.items():
            loss = functools.partial(case.hybrid_loss, name, lam)
            found.append((case, name, fitted_critic(loss, SIZE)))
    return found


def f_hal_estimates_a_divergence() -> Claim:
    """-L of f-hal at its optimum is mass times D_f of the mixed measures, which have a common support.

    The mass of either side is lam + (1 - lam) E|a|/2/(1 + 1/beta).
    """
    worst = 0.0
    for case, name, best in _hybrids():
        expected = divergence_of(name, *hybrid_measures(case, LAMS[name]))
        worst = max(worst, relative(-case.hybrid_loss(name, LAMS[name], best), expected))
    # The registered advantage adds eps = 1e-6 to the standard deviation.
    return Claim(
        "f-hal trained on tables: -L = mass D_f(mixture)", PAPER, worst, 1e-5, detail="6 divergences, 2 tables"
    )


def f_hal_finds_the_mixed_ratio() -> Claim:
    """f-hal's optimal critic is g^-1(f'(ratio)) of the mixed measures, those of the closed-form update."""
    worst = 0.0
    for case, name, best in _hybrids():
        left, right = (torch.from_numpy(side) for side in hybrid_measures(case, LAMS[name]))
        if name in CRITICS:
            worst = max(worst, relative(best, CRITICS[name](left / right)))
        policy = case.drawn / case.drawn.sum().double()
        closed = hybrid_sides(Table(policy, case.rewards), policy, *case.sides, LAMS[name], case.beta)
        worst = max(worst, relative(torch.stack(closed), torch.stack([left, right])))
    name = "f-hal trained on tables: critic of the mixed ratio"
    return Claim(name, PAPER, worst, 1e-4, detail="5 divergences, 2 tables")


CLAIMS = (
    fdo_attains_the_divergence,
    fdo_finds_the_density_ratio,
    fdo_is_a_lower_bound,
    kldo_attains_the_divergence,
    kldo_finds_the_density_ratio,
    kldo_is_tighter_than_fdo,
    f_hal_estimates_a_divergence,
    f_hal_finds_the_mixed_ratio,
)
