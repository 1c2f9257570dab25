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
from fdiv_gym.theory.formulas.on_policy import penalised


def group_weights(d: Rollouts, sign: Array, weighting: str) -> Array:
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
    weighting: str = "uniform", advantage: Any = "group", importance: str = "none", importance_cap: float = 2.0,
    penalty: str = "", penalty_coefficient: float = 0.0, penalty_truncation: float | None = None,
) -> float:  # fmt: skip
    """L = E_x (1/G) sum_i -a_i/(1 + 1/beta) w_i (g(v_i) if a_i > 0 else f*(g(v_i))).

    ``importance`` weights the gradient by min(pi/pi_old, cap), held: of the response, which weights its value too, or
    of each token, which moves v by (beta + gamma) sum_t w_t dlog pi_t. ``penalty`` adds c D_f(pi || pi_ref).
    """
    r, constant = d.rollouts, held.rollouts
    positive, negative = branches(divergence, link)
    v = beta * r.total(r.logps - r.ref) + gamma * r.total(r.logps - r.old)
    a = advantages(r, advantage)
    w = group_weights(r, np.where(a > 0, 1.0, -1.0), weighting)
    change = constant.logps - constant.old
    if importance == "sequence":
        w = w * np.minimum(np.exp(r.total(change)), importance_cap)
    elif importance == "token":
        v = beta * r.total(constant.logps - r.ref) + gamma * r.total(change)
        weights = np.minimum(np.exp(change), importance_cap)
        v = v + (beta + gamma) * r.total(weights * (r.logps - constant.logps))
    on = a != 0
    psi = np.where(a[on] > 0, positive(v[on]), negative(v[on])) * w[on]
    value = float((r.shares[on] * -a[on] / (1 + 1 / beta) * psi).sum())
    if not penalty:
        return value
    return value + penalty_coefficient * penalised(r, constant, penalty, penalty_truncation)


def fdo(
    d: Data, held: Data, *, divergence: str = "jensen_shannon", link: str = "", beta: float = 0.1
) -> float:  # fmt: skip
    """L = -E_{D+}[g(v)] + E_{D-}[f*(g(v))]."""
    p = d.preferences
    positive, negative = branches(divergence, link)
    v = beta * p.total(p.logps - p.ref)
    return mean(-positive(v[p.chosen])) + mean(negative(v[~p.chosen]))


def mean(values: Array) -> float:
    """The mean; 0 of nothing, so that a step may have rows of one side only."""
    return float(values.mean()) if len(values) else 0.0


def kldo(
    d: Data, held: Data, *, beta: float = 0.1, moving_rate: float = 1.0, normalise: bool = False,
    average: float | None = None,
) -> float:  # fmt: skip
    """L = -E_{D+}[v] + log E_{D-}[e^v]; with the two options the value and the derivative of the authors' release.

    The weights of the rejected rows are e^v_i/(n (m + 1e-6)), m = rate E_{D-}[e^v] + (1 - rate) m', where m' is the
    ``average`` of the earlier steps (none at the first); ``normalise`` multiplies the second term by
    min(A, B)/(B + 1e-9), A = E_{D+}[v], B = log E_{D-}[e^v]. Weights and factor are held.
    """
    p, constant = d.preferences, held.preferences
    v, fixed = beta * p.total(p.logps - p.ref), beta * constant.total(constant.logps - constant.ref)
    first = mean(-v[p.chosen])
    if p.chosen.all():
        return first
    if moving_rate == 1 and not normalise:
        return first + float(np.log(np.exp(v[~p.chosen]).mean()))
    raised = np.exp(fixed[~p.chosen])
    step = float(raised.mean())
    second = float(np.log(step))
    moving = step if average is None else moving_rate * step + (1 - moving_rate) * average
    weights = raised / len(raised) / (moving + 1e-6 if moving_rate < 1 else moving)
    factor = 1.0
    if normalise and p.chosen.any():
        factor = min(float(fixed[p.chosen].mean()), second) / (second + 1e-9)
    return first + factor * (second + float((weights * (v - fixed)[~p.chosen]).sum()))


def f_hal(
    d: Data, held: Data, *, lam: float = 0.5, off_policy_scale: str = "paper", divergence: str = "jensen_shannon",
    link: str = "", beta: float = 0.1, **rollouts: Any,
) -> float:  # fmt: skip
    """L = lam L_FDO + (1 - lam) L_f-GRPO; ``matched`` gives the first term the factor 1/(1 + 1/beta) of the second."""
    shared: dict[str, Any] = {"divergence": divergence, "link": link, "beta": beta}
    off = lam * fdo(d, held, **shared) * (1 / (1 + 1 / beta) if off_policy_scale == "matched" else 1.0)
    on = f_grpo(d, held, **shared, **rollouts)
    return off + (1 - lam) * on
