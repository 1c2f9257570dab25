"""Claims on the functions of a divergence that training does not call: slopes, terms, errors, exact conjugates."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fdiv_gym.divergences.base import Divergence, Link, get_divergence
from fdiv_gym.divergences.generated import divergence_from_generator
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.subjects import OURS, divergences, relative
from fdiv_gym.theory.claims.variational import SPELT
from fdiv_gym.theory.formulas.branches import SIX, SLOPES, terms_of

#: Log density ratios, in nats; those beyond 52 are far for a generator that is given as text.
RATIOS = np.array([-60.0, -20.0, -6.0, -2.5, -1.2, -0.3, 0.3, 1.0, 2.5, 6.0, 20.0, 60.0])


class OnlyFGan(Divergence):
    """kl without a universal link, whose slope is derived from its generator."""

    slope_at_infinity = math.inf

    def generator(self, t: Tensor) -> Tensor:
        """``t log t``."""
        return torch.xlogy(t, t)

    def conjugate(self, s: Tensor) -> Tensor:
        """exp(s - 1)."""
        return torch.exp(s - 1)

    def links(self) -> dict[str, Link]:
        """``fgan``."""
        return {"fgan": Link(lambda v: v, lambda v: torch.exp(v - 1), lambda r: 1 + torch.log(r), exponent=1)}


def _error(found: Tensor, expected: np.ndarray) -> float:
    """The largest |found/expected - 1|."""
    return float(np.abs(found.numpy() / expected - 1).max())


def slopes_are_derivatives() -> Claim:
    """``Divergence.slope`` at log-ratio w is f'(e^w), also far from 0 and without a universal link."""
    w, worst = torch.from_numpy(RATIOS), 0.0
    for name in SIX:
        worst = max(worst, _error(get_divergence(name).slope(w), SLOPES[name](np.exp(RATIOS))))
    worst = max(worst, _error(OnlyFGan().slope(w), SLOPES["kl"](np.exp(RATIOS))))
    for text, spec in SPELT.items():
        worst = max(worst, _error(divergence_from_generator(text).slope(w), SLOPES[spec["name"]](np.exp(RATIOS))))
    return Claim(
        "slope at w = f'(e^w)", OURS, worst, 1e-9, detail="six, five as text, one without universal; |w| <= 60"
    )


def terms_are_those_of_the_generator() -> Claim:
    """``Divergence.terms`` are f(t) - f'(1)(t - 1), divided by t for samples of P."""
    worst = 0.0
    w = torch.from_numpy(RATIOS)
    for name in SIX:
        subjects = [get_divergence(name)]
        subjects += [divergence_from_generator(text) for text, spec in SPELT.items() if spec["name"] == name]
        for divergence in subjects:
            for side in ("policy", "reference"):
                expected = terms_of(name, np.exp(RATIOS), side == "policy")
                found = divergence.terms(w, drawn_from=side)
                worst = max(worst, _error(found, expected))
    return Claim("terms = f(t) - f'(1)(t - 1)", OURS, worst, 1e-9, detail="six and five as text, both sides")


def standard_error_is_that_of_the_mean() -> Claim:
    """The second number of ``Divergence.estimate`` is the sample deviation of the terms over the root of n."""
    w, worst = np.random.default_rng(2).normal(size=40), 0.0
    for name in SIX:
        _, found = get_divergence(name).estimate(torch.from_numpy(w))
        expected = terms_of(name, np.exp(w)).std(ddof=1) / math.sqrt(len(w))
        worst = max(worst, abs(found / expected - 1))
    return Claim("estimate: standard error / sqrt(var/n) - 1", OURS, worst, 1e-9, detail="6 divergences, 40 samples")


def exact_conjugates() -> Claim:
    """Pearson's two conjugates, and those of generators as text outside the range of f', by their closed forms."""
    s = np.linspace(-5, 3, 81)
    at, grown = torch.from_numpy(s), s + s**2 / 4
    worst = relative(get_divergence("pearson").conjugate(at), torch.from_numpy(grown))
    exact = torch.from_numpy(np.where(s < -2, -1.0, grown))
    for divergence in (get_divergence("pearson", conjugate="exact"), divergence_from_generator("(t-1)^2")):
        worst = max(worst, relative(divergence.conjugate(at), exact))
    below = torch.from_numpy(np.linspace(-0.99, 0.99, 23))
    by_hand = torch.from_numpy(SIX["hellinger"][1](below.numpy()))
    for divergence in (get_divergence("hellinger"), divergence_from_generator("(sqrt(t)-1)^2")):
        worst = max(worst, relative(divergence.conjugate(below), by_hand))
    negative = torch.from_numpy(np.linspace(-4, -0.1, 40))
    spelt = torch.from_numpy(SIX["reverse_kl"][1](negative.numpy()))
    for divergence in (get_divergence("reverse_kl"), divergence_from_generator("-log(t)")):
        worst = max(worst, relative(divergence.conjugate(negative), spelt))
    return Claim("conjugates = their closed forms", OURS, worst, 1e-9, detail="pearson, hellinger, reverse_kl, as text")


def negative_branches_rise() -> Claim:
    """The negative branch falls nowhere above the declared ``negative_from``, and does fall just below it."""
    wrong, subjects = 0, [*divergences(), get_divergence("pearson", conjugate="exact")]
    for divergence in subjects:
        start = divergence.link_in_use.negative_from
        v = torch.linspace(max(start, -8.0), 8.0, 321, dtype=torch.float64)
        wrong += int((divergence.negative(v).diff() < -1e-12).sum())
        if math.isfinite(start):
            lower = torch.tensor([start - 0.1, start], dtype=torch.float64)
            wrong += int(divergence.negative(lower).diff() >= 0)
    return Claim(
        "negative_from: places where it is wrong", OURS, wrong, 0, detail=f"{len(subjects)} divergence-link pairs"
    )


CLAIMS = (
    slopes_are_derivatives,
    terms_are_those_of_the_generator,
    standard_error_is_that_of_the_mean,
    exact_conjugates,
    negative_branches_rise,
)
