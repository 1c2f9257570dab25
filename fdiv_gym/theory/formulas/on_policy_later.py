"""Later on-policy objectives in numpy, each from its source."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdiv_gym.theory.formulas.data import Array, Data, Rollouts
from fdiv_gym.theory.formulas.estimators import advantages, sigmoid
from fdiv_gym.theory.formulas.on_policy import aggregated, clipped, policy_gradient


def sapo(
    d: Data, held: Data, *, temperature_positive: float = 1.0, temperature_negative: float = 1.05, beta: float = 0.0,
    advantage: Any = "group", aggregation: Any = "sequence",
    **terms: Any,
) -> float:  # fmt: skip
    """SAPO, arXiv 2511.20347: (4/tau) sigmoid(tau (rho - 1)) A."""
    r = d.rollouts
    a = advantages(r, advantage)
    tau = np.where(a > 0, temperature_positive, temperature_negative)[:, None]
    gate = 4 / tau * sigmoid(tau * (np.exp(r.logps - r.old) - 1))
    return aggregated(d, held, -gate * a[:, None], a, aggregation, beta, **terms)


def gmpo(
    d: Data, held: Data, *, clip_low: float = 0.4, clip_high: float = 0.4, beta: float = 0.0,
    advantage: Any = "group", aggregation: Any = "sequence",
    **terms: Any,
) -> float:  # fmt: skip
    """GMPO, arXiv 2507.20673: the geometric mean of the token ratios, clipped in the logarithm."""
    r = d.rollouts
    a = advantages(r, advantage)
    change = r.logps - r.old
    kept = np.where(a[:, None] > 0, np.minimum(change, clip_high), np.maximum(change, -clip_low))
    mean = np.exp(r.total(kept) / r.lengths)
    return aggregated(d, held, -(mean * a)[:, None] * np.ones_like(change), a, aggregation, beta, **terms)


def gpg(
    d: Data, held: Data, *, rescale: bool = True, ratio: str = "none", clip_low: float = 0.2, clip_high: float = 0.2,
    beta: float = 0.0, advantage: Any = "mean-centred", aggregation: Any = "token-mean", **terms: Any,
) -> float:  # fmt: skip
    """GPG, arXiv 2504.02546: -alpha A log pi, alpha = N/(N - M), M scored responses without a contrast."""
    r = d.rollouts
    a = advantages(r, advantage)
    idle = 0
    for g in set(r.group.tolist()):
        rewards = r.rewards[(r.group == g) & ~np.isnan(r.rewards)]
        idle += len(rewards) if len(set(rewards.tolist())) == 1 else 0
    a = a * (len(a) / (len(a) - idle) if rescale else 1.0)
    losses, log_ratio = policy_gradient(r, a, ratio, clip_low, clip_high)
    return aggregated(d, held, losses, a, aggregation, beta, log_ratio=log_ratio, **terms)


def dppo(
    d: Data, held: Data, *, region: str = "tv", delta_low: float = 0.15, delta_high: float = 0.15,
    truncation: float = 20.0, beta: float = 0.0, advantage: Any = "group", aggregation: Any = "token-mean",
    **terms: Any,
) -> float:  # fmt: skip
    """DPPO, arXiv 2602.04879, the binary variants: tokens that leave the trust region are masked."""
    r, constant = d.rollouts, held.rollouts
    a = advantages(r, advantage)[:, None]
    new, old = np.exp(constant.logps), np.exp(constant.old)
    with np.errstate(all="ignore"):  # outside the mask old may exceed 1
        kl = old * np.log(old / new) + (1 - old) * np.log((1 - old) / (1 - new))
    distance = np.abs(new - old) if region == "tv" else kl
    masked = ((a > 0) & (new > old) & (distance > delta_high)) | ((a < 0) & (new < old) & (distance > delta_low))
    weight = np.where(masked, 0.0, np.minimum(new / old, truncation))
    return aggregated(d, held, -weight * a * r.logps, a[:, 0], aggregation, beta, **terms)


def bnpo(
    d: Data, held: Data, *, clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0,
    advantage: Any = "beta-normalised", aggregation: Any = "token-mean",
    **terms: Any,
) -> float:  # fmt: skip
    """BNPO, arXiv 2506.02864: the clipped surrogate with rewards that are divided by a beta density."""
    r = d.rollouts
    a = advantages(r, advantage)
    return aggregated(d, held, clipped(np.exp(r.logps - r.old), a, clip_low, clip_high), a, aggregation, beta, **terms)


def covariances(r: Rollouts, a: Array) -> Array:
    """[N, T]: (A - mean A)(log pi - mean log pi) over the tokens of scored responses; -inf elsewhere or where A = 0."""
    tokens = r.mask & ~np.isnan(r.rewards)[:, None]
    spread = np.broadcast_to(a[:, None], r.logps.shape)
    product = (spread - spread[tokens].mean()) * (r.logps - r.logps[tokens].mean())
    return np.asarray(np.where(tokens & (spread != 0), product, -np.inf))


def highest(covariance: Array, eligible: Array, count: int) -> Array:
    """[N, T] bool: the ``count`` eligible tokens of the highest covariance."""
    wanted = sorted(covariance[eligible].tolist(), reverse=True)[:count]
    return np.asarray(eligible & np.isin(covariance, wanted))


def clip_cov(
    d: Data, held: Data, *, share: float = 2e-4, clip_low: float = 1.0, clip_high: float = 1.0,
    covariance_low: float = 1.0, covariance_high: float = 5.0, beta: float = 0.0, advantage: Any = "group",
    aggregation: Any = "token-mean",
    **terms: Any,
) -> float:  # fmt: skip
    """Clip-Cov, arXiv 2505.22617: the selected tokens are left out of the clipped surrogate."""
    r, constant = d.rollouts, held.rollouts
    a = advantages(r, advantage)
    covariance, ratio = covariances(constant, a), np.exp(constant.logps - constant.old)
    cut = ((ratio < 1 - clip_low) & (a[:, None] < 0)) | ((ratio > 1 + clip_high) & (a[:, None] > 0))
    eligible = (covariance > covariance_low) & (covariance < covariance_high) & ~cut
    count = max(1, int(share * (r.mask & ~np.isnan(r.rewards)[:, None]).sum()))
    kept = ~highest(covariance, eligible, count)
    return aggregated(
        d, held, kept * clipped(np.exp(r.logps - r.old), a, clip_low, clip_high), a, aggregation, beta, **terms
    )


def kl_cov(
    d: Data, held: Data, *, share: float = 2e-3, coefficient: float = 1.0, beta: float = 0.0, advantage: Any = "group",
    aggregation: Any = "token-mean",
    **terms: Any,
) -> float:  # fmt: skip
    """KL-Cov, arXiv 2505.22617: |log rho| is added on the selected tokens."""
    r, constant = d.rollouts, held.rollouts
    a = advantages(r, advantage)
    covariance = covariances(constant, a)
    count = max(1, int(share * (r.mask & ~np.isnan(r.rewards)[:, None]).sum()))
    chosen = highest(covariance, covariance > 0, count)
    change = r.logps - r.old
    return aggregated(
        d, held, -np.exp(change) * a[:, None] + coefficient * chosen * np.abs(change), a, aggregation, beta, **terms
    )
