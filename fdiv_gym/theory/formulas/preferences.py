"""The baselines on preference data in numpy, each from its source."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdiv_gym.theory.formulas.data import Array, Data, Preferences
from fdiv_gym.theory.formulas.estimators import sigmoid, token_weights


def log_ratio(p: Preferences) -> Array:
    """[N]: log pi - log pi_ref of whole responses."""
    return p.total(p.logps) - p.total(p.ref)


def dpo(d: Data, held: Data, *, beta: float = 0.1) -> float:
    """DPO, arXiv 2305.18290, equation 7."""
    chosen, rejected = d.preferences.pairs(log_ratio(d.preferences))
    return float(-np.log(sigmoid(beta * (chosen - rejected))).mean())


def ipo(d: Data, held: Data, *, tau: float = 0.1, length_normalised: bool = True) -> float:
    """IPO, arXiv 2310.12036, equation 17; log-ratios of a token, as its authors advise, or of the response."""
    p = d.preferences
    chosen, rejected = p.pairs(log_ratio(p) / (p.lengths if length_normalised else 1))
    return float(((chosen - rejected - 1 / (2 * tau)) ** 2).mean())


def simpo(d: Data, held: Data, *, beta: float = 2.0, gamma: float = 1.0) -> float:
    """SimPO, arXiv 2405.14734, equation 6."""
    p = d.preferences
    chosen, rejected = p.pairs(p.total(p.logps) / p.lengths)
    return float(-np.log(sigmoid(beta * chosen - beta * rejected - gamma)).mean())


def kto(
    d: Data, held: Data, *, beta: float = 0.1, desirable_weight: float = 1.0, undesirable_weight: float = 1.0,
    z0: str = "step",
) -> float:  # fmt: skip
    """KTO, arXiv 2402.01306, equations 7 and 8; z0 is the step's mean log-ratio, at least 0, held, or 0."""
    p, h = d.preferences, log_ratio(d.preferences)
    shift = max(0.0, float(log_ratio(held.preferences).mean())) if z0 == "step" else 0.0
    good = desirable_weight * (1 - sigmoid(beta * (h - shift)))
    bad = undesirable_weight * (1 - sigmoid(beta * (shift - h)))
    return float(np.where(p.chosen, good, bad).mean())


def bco(d: Data, held: Data, *, beta: float = 0.1, denominator: str = "sides", delta: str = "step") -> float:
    """BCO, arXiv 2404.04656, section 4; delta is the middle of the two sides' means of the step, held, or 0."""
    p, v, w = d.preferences, beta * log_ratio(d.preferences), beta * log_ratio(held.preferences)
    means = [side.mean() for side in (w[p.chosen], w[~p.chosen]) if len(side)]
    shift = sum(means) / len(means) if delta == "step" else 0.0
    rows = -np.log(sigmoid(np.where(p.chosen, v - shift, shift - v)))
    if denominator == "rows":
        return float(rows.mean())
    return float(sum(side.mean() for side in (rows[p.chosen], rows[~p.chosen]) if len(side)))


def sft(d: Data, held: Data, *, aggregation: Any = "token-mean") -> float:
    """-log pi of the chosen responses."""
    p = d.preferences
    lengths, logps = p.lengths[p.chosen], p.total(p.logps)[p.chosen]
    if not len(lengths):
        return 0.0
    return float(-(token_weights(lengths, np.full(len(lengths), 1 / len(lengths)), aggregation) * logps).sum())
