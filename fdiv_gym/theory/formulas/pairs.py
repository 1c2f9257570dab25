"""Later objectives on preference pairs in numpy, each from its source."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdiv_gym.theory.formulas.data import Data
from fdiv_gym.theory.formulas.estimators import sigmoid
from fdiv_gym.theory.formulas.preferences import log_ratio, sft


def apo_zero(d: Data, held: Data, *, beta: float = 0.1) -> float:
    """APO-zero, arXiv 2408.06266: 1 - sigmoid(v+) + sigmoid(v-)."""
    chosen, rejected = d.preferences.pairs(beta * log_ratio(d.preferences))
    return float((1 - sigmoid(chosen) + sigmoid(rejected)).mean())


def apo_down(d: Data, held: Data, *, beta: float = 0.1) -> float:
    """APO-down, arXiv 2408.06266: sigmoid(v+) + 1 - sigmoid(v+ - v-)."""
    chosen, rejected = d.preferences.pairs(beta * log_ratio(d.preferences))
    return float((sigmoid(chosen) + 1 - sigmoid(chosen - rejected)).mean())


def cpo(
    d: Data, held: Data, *, beta: float = 0.1, nll_coefficient: float = 1.0, aggregation: Any = "token-mean"
) -> float:
    """CPO, arXiv 2401.08417: dpo without a reference, plus the likelihood of the chosen response."""
    p = d.preferences
    chosen, rejected = p.pairs(p.total(p.logps))
    preference = -np.log(sigmoid(beta * (chosen - rejected))).mean()
    return float(preference) + nll_coefficient * sft(d, held, aggregation=aggregation)


def orpo(d: Data, held: Data, *, lam: float = 0.1, aggregation: Any = "token-mean") -> float:
    """ORPO, arXiv 2403.07691, equations 6 and 7; p = exp of the mean log-prob of a token."""
    p = d.preferences
    probability = np.exp(p.total(p.logps) / p.lengths)
    chosen, rejected = p.pairs(probability / (1 - probability))
    return sft(d, held, aggregation=aggregation) - lam * float(np.log(sigmoid(np.log(chosen / rejected))).mean())


def slic(
    d: Data, held: Data, *, beta: float = 0.1, margin: float = 1.0, reference: bool = True,
    nll_coefficient: float = 0.0, aggregation: Any = "token-mean",
) -> float:  # fmt: skip
    """SLiC, arXiv 2305.10425 and 2309.06657: a hinge on the difference of scores."""
    p = d.preferences
    chosen, rejected = p.pairs(beta * (log_ratio(p) if reference else p.total(p.logps)))
    hinge = np.maximum(0.0, margin - (chosen - rejected)).mean()
    return float(hinge) + nll_coefficient * sft(d, held, aggregation=aggregation)


def robust_dpo(d: Data, held: Data, *, beta: float = 0.1, label_noise: float = 0.1) -> float:
    """Robust DPO, arXiv 2403.00409: the loss whose mean over flipped labels is that on clean labels."""
    chosen, rejected = d.preferences.pairs(beta * log_ratio(d.preferences))
    right, flipped = -np.log(sigmoid(chosen - rejected)), -np.log(sigmoid(rejected - chosen))
    return float((((1 - label_noise) * right - label_noise * flipped) / (1 - 2 * label_noise)).mean())


def nca(d: Data, held: Data, *, beta: float = 0.1) -> float:
    """NCA, arXiv 2402.05369, for two responses."""
    chosen, rejected = d.preferences.pairs(beta * log_ratio(d.preferences))
    noise = np.log(sigmoid(-chosen)) + np.log(sigmoid(-rejected))
    return float((-np.log(sigmoid(chosen)) - noise / 2).mean())


def sppo(d: Data, held: Data, *, beta: float = 0.1) -> float:
    """SPPO, arXiv 2405.00675, equation 4.7, with the win probabilities 1 and 0 and eta = 1/beta."""
    chosen, rejected = d.preferences.pairs(log_ratio(d.preferences))
    target = (1 - 1 / 2) / beta
    return float(((chosen - target) ** 2 + (rejected + target) ** 2).mean())
