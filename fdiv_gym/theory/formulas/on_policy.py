"""The on-policy baselines in numpy, each from its source."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdiv_gym.theory.formulas.branches import SLOPES, terms_of
from fdiv_gym.theory.formulas.data import Array, Data, Rollouts
from fdiv_gym.theory.formulas.estimators import advantages, token_weights

SUM: dict[str, Any] = {"name": "constant-length", "length": 1}


def aggregated(
    d: Data, held: Data, losses: Array, a: Array, aggregation: Any, beta: float, *, log_ratio: Array | None = None,
    unbiased_k3: bool = False, penalty: str = "", penalty_coefficient: float = 0.0,
    penalty_truncation: float | None = None,
) -> float:  # fmt: skip
    """Sum of weight times (loss + beta k3) over response tokens; responses without a score count 0.

    ``unbiased_k3`` multiplies k3 by the ratio, whose logarithm is ``log_ratio`` or that of the token.
    """
    r = d.rollouts
    distance = r.logps - r.ref
    k3 = np.exp(-distance) + distance - 1
    if unbiased_k3:
        k3 = k3 * np.exp(r.logps - r.old if log_ratio is None else log_ratio)
    terms = r.total(losses + beta * k3)
    counted = ~np.isnan(r.rewards) if beta > 0 else a != 0
    value = float((token_weights(r.lengths, r.shares, aggregation) * np.where(counted, terms, 0.0)).sum())
    if not penalty:
        return value
    return value + penalty_coefficient * penalised(r, held.rollouts, penalty, penalty_truncation)


def penalised(r: Rollouts, held: Rollouts, divergence: str, truncation: float | None) -> float:
    """The estimate of D_f(pi||pi_ref) at ``held``, with the derivative E[w (f'(rho) - f'(1)) grad log pi].

    rho = pi/pi_ref and w = pi/pi_old of whole responses. The truncation is of the coefficient of the gradient.
    """
    ratio, weight = (np.exp(held.total(held.logps - other)) for other in (held.ref, held.old))
    slope = SLOPES[divergence]
    coefficient = weight * (slope(ratio) - slope(np.ones(1)))
    if truncation is not None:
        coefficient = np.clip(coefficient, -truncation, truncation)
    change = r.total(r.logps) - held.total(held.logps)
    return float((r.shares * (weight * terms_of(divergence, ratio) + coefficient * change)).sum())


def clipped(ratio: Array, a: Array, low: float, high: float) -> Array:
    """-min(ratio A, clip(ratio, 1 - low, 1 + high) A), PPO (arXiv 1707.06347, equation 7)."""
    a = a[:, None]
    return np.asarray(-np.minimum(ratio * a, np.clip(ratio, 1 - low, 1 + high) * a))


def grpo(
    d: Data, held: Data, *, clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.04,
    advantage: Any = "group", aggregation: Any = "sequence",
    **terms: Any,
) -> float:  # fmt: skip
    """GRPO, arXiv 2402.03300, equations 3 and 4."""
    r = d.rollouts
    a = advantages(r, advantage)
    return aggregated(d, held, clipped(np.exp(r.logps - r.old), a, clip_low, clip_high), a, aggregation, beta, **terms)


def gprl(d: Data, held: Data, *, advantage: Any = "gprl", **options: Any) -> float:
    """GPRL, arXiv 2605.18721: the loss of GRPO on advantages of several dimensions."""
    return grpo(d, held, advantage=advantage, **options)


def dr_grpo(
    d: Data, held: Data, *, clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0,
    advantage: Any = "mean-centred", aggregation: Any = "constant-length",
    **terms: Any,
) -> float:  # fmt: skip
    """Dr. GRPO, arXiv 2503.20783: no 1/std, no 1/|y|, no KL term."""
    r = d.rollouts
    a = advantages(r, advantage)
    return aggregated(d, held, clipped(np.exp(r.logps - r.old), a, clip_low, clip_high), a, aggregation, beta, **terms)


def dapo(
    d: Data, held: Data, *, clip_low: float = 0.2, clip_high: float = 0.28, beta: float = 0.0,
    advantage: Any = "group", aggregation: Any = "token-mean",
    **terms: Any,
) -> float:  # fmt: skip
    """DAPO, arXiv 2503.14476: clip-higher, the mean over all tokens."""
    r = d.rollouts
    a = advantages(r, advantage)
    return aggregated(d, held, clipped(np.exp(r.logps - r.old), a, clip_low, clip_high), a, aggregation, beta, **terms)


def gspo(
    d: Data, held: Data, *, clip_low: float = 3e-4, clip_high: float = 4e-4, beta: float = 0.0,
    advantage: Any = "group", aggregation: Any = "sequence",
    **terms: Any,
) -> float:  # fmt: skip
    """GSPO, arXiv 2507.18071, equations 5 to 7: s_i = (pi/pi_old)^(1/|y_i|) in place of every token's ratio."""
    r = d.rollouts
    a = advantages(r, advantage)
    mean = (r.total(r.logps - r.old) / r.lengths)[:, None] * np.ones_like(r.logps)
    losses = clipped(np.exp(mean), a, clip_low, clip_high)
    return aggregated(d, held, losses, a, aggregation, beta, log_ratio=mean, **terms)


def cispo(
    d: Data, held: Data, *, clip_low: float = 1.0, clip_high: float = 4.0, beta: float = 0.0,
    advantage: Any = "group", aggregation: Any = "token-mean",
    **terms: Any,
) -> float:  # fmt: skip
    """CISPO, arXiv 2506.13585, equations 4 and 5: the clipped weight is held, log pi is not."""
    r, constant = d.rollouts, held.rollouts
    a = advantages(r, advantage)
    weight = np.clip(np.exp(constant.logps - constant.old), 1 - clip_low, 1 + clip_high)
    return aggregated(d, held, -weight * a[:, None] * r.logps, a, aggregation, beta, **terms)


def policy_gradient(r: Rollouts, a: Array, ratio: str, clip_low: float, clip_high: float) -> tuple[Array, Array]:
    """[N, T]: -A log pi of each token, or the surrogate of the ratio; and the logarithm of that ratio.

    The surrogate of a response is divided among its tokens.
    """
    change = r.logps - r.old
    if ratio == "none":
        return -a[:, None] * r.logps, change
    if ratio == "token":
        return clipped(np.exp(change), a, clip_low, clip_high), change
    whole = r.total(change)[:, None] * np.ones_like(change)
    return clipped(np.exp(whole), a, clip_low, clip_high) / r.lengths[:, None], whole


def reinforce(
    d: Data, held: Data, *, ratio: str = "none", clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0,
    advantage: Any = "batch", aggregation: Any = SUM, **terms: Any,
) -> float:  # fmt: skip
    """-A log pi(y), Williams 1992; the baseline of arXiv 2501.03262. Off the policy, the surrogate of a ratio."""
    a = advantages(d.rollouts, advantage)
    losses, log_ratio = policy_gradient(d.rollouts, a, ratio, clip_low, clip_high)
    return aggregated(d, held, losses, a, aggregation, beta, log_ratio=log_ratio, **terms)


def rloo(d: Data, held: Data, *, advantage: Any = "leave-one-out", **options: Any) -> float:
    """RLOO, arXiv 2402.14740, equation 10."""
    return reinforce(d, held, advantage=advantage, **options)
