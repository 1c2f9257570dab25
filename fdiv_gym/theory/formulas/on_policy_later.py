"""Later on-policy objectives in numpy, each from its source."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdiv_gym.theory.formulas.data import Data
from fdiv_gym.theory.formulas.estimators import advantages, sigmoid
from fdiv_gym.theory.formulas.on_policy import aggregated


def sapo(
    d: Data, held: Data, *, temperature_positive: float = 1.0, temperature_negative: float = 1.05, beta: float = 0.0,
    advantage: Any = "group", aggregation: Any = "sequence",
) -> float:  # fmt: skip
    """SAPO, arXiv 2511.20347: (4/tau) sigmoid(tau (rho - 1)) A."""
    r = d.rollouts
    a = advantages(r, advantage)
    tau = np.where(a > 0, temperature_positive, temperature_negative)[:, None]
    gate = 4 / tau * sigmoid(tau * (np.exp(r.logps - r.old) - 1))
    return aggregated(r, -gate * a[:, None], a, aggregation, beta)


def gmpo(
    d: Data, held: Data, *, clip_low: float = 0.4, clip_high: float = 0.4, beta: float = 0.0,
    advantage: Any = "group", aggregation: Any = "sequence",
) -> float:  # fmt: skip
    """GMPO, arXiv 2507.20673: the geometric mean of the token ratios, clipped in the logarithm."""
    r = d.rollouts
    a = advantages(r, advantage)
    change = r.logps - r.old
    kept = np.where(a[:, None] > 0, np.minimum(change, clip_high), np.maximum(change, -clip_low))
    mean = np.exp(r.total(kept) / r.lengths)
    return aggregated(r, -(mean * a)[:, None] * np.ones_like(change), a, aggregation, beta)


def gpg(
    d: Data, held: Data, *, rescale: bool = True, beta: float = 0.0, advantage: Any = "mean-centred",
    aggregation: Any = "token-mean",
) -> float:  # fmt: skip
    """GPG, arXiv 2504.02546: -alpha A log pi, alpha = N/(N - M), M scored responses without a contrast."""
    r = d.rollouts
    a = advantages(r, advantage)
    idle = 0
    for g in set(r.group.tolist()):
        rewards = r.rewards[(r.group == g) & ~np.isnan(r.rewards)]
        idle += len(rewards) if len(set(rewards.tolist())) == 1 else 0
    alpha = len(a) / (len(a) - idle) if rescale else 1.0
    return aggregated(r, -alpha * a[:, None] * r.logps, a, aggregation, beta)


def dppo(
    d: Data, held: Data, *, region: str = "tv", delta_low: float = 0.15, delta_high: float = 0.15,
    truncation: float = 20.0, beta: float = 0.0, advantage: Any = "group", aggregation: Any = "token-mean",
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
    return aggregated(r, -weight * a * r.logps, a[:, 0], aggregation, beta)
