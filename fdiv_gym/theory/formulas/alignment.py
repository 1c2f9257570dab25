"""f-GRPO, FDO, KLDO and f-HAL in numpy (arXiv 2602.05946, 2502.00657).

Every formula takes the data, the data at which held quantities are evaluated, and the options of its objective,
whose defaults are written here once more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fdiv_gym.theory.formulas.branches import branches
from fdiv_gym.theory.formulas.data import Array, Data, Rollouts
from fdiv_gym.theory.formulas.estimators import advantages


def importance(d: Rollouts, sign: Array, weighting: str) -> Array:
    """[N]: G softmax_j(sign r_j - log pi_old_j) over the scored responses of a group, or 1."""
    weights = np.ones(len(d.rewards))
    if weighting == "uniform":
        return weights
    logps = d.total(d.old) / (d.lengths if weighting == "length_normalised" else 1)
    for i in range(len(weights)):
        rows = (d.group == d.group[i]) & ~np.isnan(d.rewards)
        scores = np.exp(sign[i] * d.rewards - logps)
        weights[i] = rows.sum() * scores[i] / scores[rows].sum()
    return weights


def f_grpo(
    d: Data, held: Data, *, divergence: str = "pearson", link: str = "", beta: float = 0.1, gamma: float = 0.0,
    weighting: str = "uniform", advantage: Any = "group",
) -> float:  # fmt: skip
    """L = E_x (1/G) sum_i -a_i/(1 + 1/beta) w_i (g(v_i) if a_i > 0 else f*(g(v_i)))."""
    r = d.rollouts
    positive, negative = branches(divergence, link)
    v = beta * r.total(r.logps - r.ref) + gamma * r.total(r.logps - r.old)
    a = advantages(r, advantage)
    w = importance(r, np.where(a > 0, 1.0, -1.0), weighting)
    on = a != 0
    psi = np.where(a[on] > 0, positive(v[on]), negative(v[on])) * w[on]
    return float((r.shares[on] * -a[on] / (1 + 1 / beta) * psi).sum())


def fdo(
    d: Data, held: Data, *, divergence: str = "jensen_shannon", link: str = "", beta: float = 0.1
) -> float:  # fmt: skip
    """L = -E_{D+}[g(v)] + E_{D-}[f*(g(v))]."""
    p = d.preferences
    positive, negative = branches(divergence, link)
    v = beta * p.total(p.logps - p.ref)
    return float(-positive(v[p.chosen]).mean() + negative(v[~p.chosen]).mean())


def kldo(d: Data, held: Data, *, beta: float = 0.1) -> float:
    """L = -E_{D+}[v] + log E_{D-}[e^v]."""
    p = d.preferences
    v = beta * p.total(p.logps - p.ref)
    return float(-v[p.chosen].mean() + np.log(np.exp(v[~p.chosen]).mean()))


def f_hal(
    d: Data, held: Data, *, lam: float = 0.5, off_policy_scale: str = "paper", divergence: str = "jensen_shannon",
    link: str = "", beta: float = 0.1, gamma: float = 0.0, weighting: str = "uniform", advantage: Any = "group",
) -> float:  # fmt: skip
    """L = lam L_FDO + (1 - lam) L_f-GRPO; ``matched`` gives the first term the factor 1/(1 + 1/beta) of the second."""
    shared: dict[str, Any] = {"divergence": divergence, "link": link, "beta": beta}
    off = lam * fdo(d, held, **shared) * (1 / (1 + 1 / beta) if off_policy_scale == "matched" else 1.0)
    on = f_grpo(d, held, **shared, gamma=gamma, weighting=weighting, advantage=advantage)
    return off + (1 - lam) * on
