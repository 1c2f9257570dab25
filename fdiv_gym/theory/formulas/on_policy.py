"""The on-policy baselines in numpy, each from its source."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdiv_gym.theory.formulas.data import Array, Data, Rollouts
from fdiv_gym.theory.formulas.estimators import advantages, token_weights

SUM: dict[str, Any] = {"name": "constant-length", "length": 1}


def aggregated(r: Rollouts, losses: Array, a: Array, aggregation: Any, beta: float) -> float:
    """Sum of weight times (loss + beta k3) over response tokens; responses without a score count 0."""
    d = r.logps - r.ref
    terms = r.total(losses + beta * (np.exp(-d) + d - 1))
    counted = ~np.isnan(r.rewards) if beta > 0 else a != 0
    return float((token_weights(r.lengths, r.shares, aggregation) * np.where(counted, terms, 0.0)).sum())


def clipped(ratio: Array, a: Array, low: float, high: float) -> Array:
    """-min(ratio A, clip(ratio, 1 - low, 1 + high) A), PPO (arXiv 1707.06347, equation 7)."""
    a = a[:, None]
    return np.asarray(-np.minimum(ratio * a, np.clip(ratio, 1 - low, 1 + high) * a))


def grpo(
    d: Data, held: Data, *, clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.04,
    advantage: Any = "group", aggregation: Any = "sequence",
) -> float:  # fmt: skip
    """GRPO, arXiv 2402.03300, equations 3 and 4."""
    r = d.rollouts
    a = advantages(r, advantage)
    return aggregated(r, clipped(np.exp(r.logps - r.old), a, clip_low, clip_high), a, aggregation, beta)


def dr_grpo(
    d: Data, held: Data, *, clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0,
    advantage: Any = "mean-centred", aggregation: Any = "constant-length",
) -> float:  # fmt: skip
    """Dr. GRPO, arXiv 2503.20783: no 1/std, no 1/|y|, no KL term."""
    r = d.rollouts
    a = advantages(r, advantage)
    return aggregated(r, clipped(np.exp(r.logps - r.old), a, clip_low, clip_high), a, aggregation, beta)


def dapo(
    d: Data, held: Data, *, clip_low: float = 0.2, clip_high: float = 0.28, beta: float = 0.0,
    advantage: Any = "group", aggregation: Any = "token-mean",
) -> float:  # fmt: skip
    """DAPO, arXiv 2503.14476: clip-higher, the mean over all tokens."""
    r = d.rollouts
    a = advantages(r, advantage)
    return aggregated(r, clipped(np.exp(r.logps - r.old), a, clip_low, clip_high), a, aggregation, beta)


def gspo(
    d: Data, held: Data, *, clip_low: float = 3e-4, clip_high: float = 4e-4, beta: float = 0.0,
    advantage: Any = "group", aggregation: Any = "sequence",
) -> float:  # fmt: skip
    """GSPO, arXiv 2507.18071, equations 5 to 7: s_i = (pi/pi_old)^(1/|y_i|) in place of every token's ratio."""
    r = d.rollouts
    a = advantages(r, advantage)
    ratio = np.exp(r.total(r.logps - r.old) / r.lengths)[:, None] * np.ones_like(r.logps)
    return aggregated(r, clipped(ratio, a, clip_low, clip_high), a, aggregation, beta)


def cispo(
    d: Data, held: Data, *, clip_low: float = 1.0, clip_high: float = 4.0, beta: float = 0.0,
    advantage: Any = "group", aggregation: Any = "token-mean",
) -> float:  # fmt: skip
    """CISPO, arXiv 2506.13585, equations 4 and 5: the clipped weight is held, log pi is not."""
    r, constant = d.rollouts, held.rollouts
    a = advantages(r, advantage)
    weight = np.clip(np.exp(constant.logps - constant.old), 1 - clip_low, 1 + clip_high)
    return aggregated(r, -weight * a[:, None] * r.logps, a, aggregation, beta)


def reinforce(
    d: Data, held: Data, *, beta: float = 0.0, advantage: Any = "batch", aggregation: Any = SUM
) -> float:  # fmt: skip
    """-A log pi(y), Williams 1992; the baseline of arXiv 2501.03262."""
    r = d.rollouts
    a = advantages(r, advantage)
    return aggregated(r, -a[:, None] * r.logps, a, aggregation, beta)


def rloo(
    d: Data, held: Data, *, beta: float = 0.0, advantage: Any = "leave-one-out", aggregation: Any = SUM
) -> float:  # fmt: skip
    """RLOO, arXiv 2402.14740, equation 10."""
    return reinforce(d, held, beta=beta, advantage=advantage, aggregation=aggregation)
