"""Claims on divergences: the variational form, the optimal critic, the branches in floating point."""

from __future__ import annotations

import numpy as np
import torch

from fdiv_gym.divergences.base import get_divergence
from fdiv_gym.divergences.generated import divergence_from_generator
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.subjects import F_GAN, OURS, PAPER, divergences, pairs_of_distributions, relative
from fdiv_gym.theory.formulas.branches import LINKS, SIX, branches, divergence_of
from fdiv_gym.theory.tabular import attained, optimal_critic

CASES = 2

#: Generators as text, with the registered divergence of the same generator.
SPELT = {
    "t*log(t)": {"name": "kl"},
    "-log(t)": {"name": "reverse_kl"},
    "(t-1)^2": {"name": "pearson"},
    "(sqrt(t)-1)^2": {"name": "hellinger"},
    "t*log(t) - (t+1)*log((t+1)/2)": {"name": "jensen_shannon"},
}


def optimum_is_the_divergence() -> Claim:
    """The best free critic attains D_f; for total variation, as a limit."""
    worst, subjects = 0.0, divergences()
    for p, q in pairs_of_distributions(CASES):
        for divergence in subjects:
            best = attained(divergence, p, q, optimal_critic(divergence, p, q))
            worst = max(worst, relative(best, divergence.exact(p, q)))
    name = "variational optimum over free critics = D_f"
    return Claim(name, F_GAN, worst, 1e-6, detail=f"{len(subjects)} divergence-link pairs, {CASES} cases each")


def critic_is_the_density_ratio() -> Claim:
    """The maximiser, found by search, is g^-1(f'(dD+/dD-))."""
    worst, subjects = 0.0, divergences()
    for p, q in pairs_of_distributions(CASES, seed=1):
        for divergence in subjects:
            closed = divergence.critic(p / q)
            if bool(closed.isfinite().all()):
                worst = max(worst, relative(optimal_critic(divergence, p, q), closed))
    return Claim("optimal critic = g^-1(f'(dD+/dD-))", PAPER, worst, 1e-6, detail="where it is finite")


def branches_are_those_of_the_source() -> Claim:
    """Generator, g(v) and f*(g(v)) of the six divergences are those of f-GAN's table, composed in numpy."""
    v, t, worst = np.linspace(-3, 3, 61), np.linspace(0.05, 6, 50), 0.0
    cases = [(name, "") for name in SIX] + list(LINKS)
    for name, link in cases:
        divergence = get_divergence(name, link=link)
        positive, negative = branches(name, link)
        worst = max(worst, relative(divergence.positive(torch.from_numpy(v)), torch.from_numpy(positive(v))))
        worst = max(worst, relative(divergence.negative(torch.from_numpy(v)), torch.from_numpy(negative(v))))
        worst = max(worst, relative(divergence.generator(torch.from_numpy(t)), torch.from_numpy(SIX[name][0](t))))
    return Claim("f, g and f* o g = f-GAN's table, in numpy", F_GAN, worst, 1e-12, detail=f"{len(cases)} pairs")


def conjugates_are_suprema() -> Claim:
    """f*(g(v)) = sup_t t g(v) - f(t), the supremum found on a grid of t; at t = f*'(g(v)) it is attained."""
    t = torch.from_numpy(np.geomspace(1e-6, 1e6, 200_001))
    worst, subjects = 0.0, divergences()
    for divergence in subjects:
        values = divergence.generator(t)
        for v in torch.linspace(-1.5, 1.5, 7, dtype=torch.float64):
            supremum = float((t * divergence.link(v) - values).max())
            worst = max(worst, abs(float(divergence.negative(v)) - supremum))
    name = "f*(g(v)) - sup over t of t g(v) - f(t)"
    return Claim(name, F_GAN, worst, 1e-6, detail=f"{len(subjects)} divergence-link pairs, t from 1e-6 to 1e6")


def estimate_is_the_divergence() -> Claim:
    """``Divergence.estimate`` has the mean D_f(P||Q), drawn from P or from Q; no term is negative."""
    p, q, worst = torch.tensor([5, 2, 8, 1]), torch.tensor([3, 6, 3, 4]), 0.0
    ratio = p.double() / q.double()
    for name in SIX:
        exact = divergence_of(name, *(x.double().numpy() / 16 for x in (p, q)))
        for counts, side in ((p, "policy"), (q, "reference")):
            drawn = torch.repeat_interleave(ratio, counts).log()
            found, _ = get_divergence(name).estimate(drawn, drawn_from=side)  # type: ignore[arg-type]
            worst = max(worst, abs(found - exact))
    return Claim("estimate from log-ratios: error of its mean", OURS, worst, 1e-12, detail="6 divergences, both sides")


def text_gives_the_same_branches() -> Claim:
    """Branches derived from the generator alone agree with the explicit ones."""
    v, worst = torch.linspace(-12, 12, 97, dtype=torch.float64), 0.0
    for text, spec in SPELT.items():
        derived, written = divergence_from_generator(text), get_divergence(spec, link="universal")
        worst = max(worst, relative(derived.positive(v), written.positive(v)))
        worst = max(worst, relative(derived.negative(v), written.negative(v)))
    return Claim("branches derived from f alone = written ones", OURS, worst, 1e-9, detail=f"{len(SPELT)} generators")


def branches_stay_finite() -> Claim:
    """With the guard, values and gradients are finite for |v| <= 100 in fp32 and bf16."""
    bad, subjects = 0, divergences()
    for divergence in subjects:
        for dtype in (torch.float32, torch.bfloat16):
            v = torch.linspace(-100, 100, 801).to(dtype).requires_grad_(True)
            total = divergence.positive(v) + divergence.negative(v)
            (slope,) = torch.autograd.grad(total.sum(), v)
            bad += int((~total.isfinite()).sum() + (~slope.isfinite()).sum())
    return Claim("values, gradients not finite, |v| <= 100, fp32 bf16", OURS, bad, 0, detail=f"{len(subjects)} pairs")


def branches_are_accurate() -> Claim:
    """Both branches in fp32 against fp64 on the same input, for |v| <= min(30, guard limit)."""
    worst = 0.0
    for divergence in divergences():
        limit = min(30.0, divergence.guard_limit)
        for dtype in (torch.float32, torch.bfloat16):
            v = torch.linspace(-limit, limit, 2001).to(dtype)
            for branch in (divergence.positive, divergence.negative):
                worst = max(worst, relative(branch(v), branch(v.double())))
    return Claim("error of the branches in fp32 against fp64", OURS, worst, 1e-6)


CLAIMS = (
    optimum_is_the_divergence,
    critic_is_the_density_ratio,
    branches_are_those_of_the_source,
    conjugates_are_suprema,
    estimate_is_the_divergence,
    text_gives_the_same_branches,
    branches_stay_finite,
    branches_are_accurate,
)
