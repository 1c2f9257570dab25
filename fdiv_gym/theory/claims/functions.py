"""Claims on ``fdiv_gym.functional``: the losses for other training loops against the formulas in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fdiv_gym import functional
from fdiv_gym.objectives.base import get_objective
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.objectives import BOUND, NAN
from fdiv_gym.theory.claims.subjects import F_DO, OURS, PAPER, relative
from fdiv_gym.theory.formulas import FORMULAS, Data, Preferences, Rollouts, central_differences
from fdiv_gym.theory.formulas.estimators import advantages

SIZE, PAIRS = 4, 5
REWARDS = np.array([0.9, 0.1, NAN, 0.2, 0.0, 1.0, 0.3, 2.0])

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def _data() -> Data:
    """Rows of one token: eight responses in two groups, and five chosen and five rejected ones, not in turn."""
    generator = np.random.default_rng(5)

    def drawn(count: int) -> Any:
        return -1 - 2 * generator.random((count, 1))

    group, unit = np.arange(8) // SIZE, np.arange(2 * PAIRS) % PAIRS
    rollouts = Rollouts(drawn(8), drawn(8), drawn(8), np.ones((8, 1), bool), REWARDS, group)
    chosen = np.arange(2 * PAIRS) < PAIRS
    return Data(rollouts, Preferences(drawn(10), drawn(10), np.ones((10, 1), bool), chosen, unit))


def _gap(data: Data, loss: Loss, name: str, **options: Any) -> float:
    """The larger relative difference of value and gradient; ``loss`` gets log-probs [8], [5], [5]."""
    r, p = (torch.from_numpy(x.logps[:, 0]).requires_grad_() for x in (data.rollouts, data.preferences))
    found = loss(r, p[:PAIRS], p[PAIRS:])
    formula = FORMULAS[name].value
    worst = relative(found.detach(), formula(data, data, **options))
    gradients = torch.autograd.grad(found, (r, p), allow_unused=True)
    for stream, gradient in zip(("rollouts", "preferences"), gradients, strict=True):
        expected = central_differences(lambda d: formula(d, data, **options), data, stream)[:, 0]  # type: ignore[arg-type]
        got = np.zeros(len(expected)) if gradient is None else gradient.numpy()
        worst = float(np.maximum(worst, np.abs(got - expected).max()))
    return worst


def _fixed(data: Data) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Rewards [8], reference and old log-probs of the rollouts [8], reference of chosen and rejected rows [5]."""
    r, p = data.rollouts, data.preferences
    ref = torch.from_numpy(p.ref[:, 0])
    rollouts = (torch.from_numpy(x) for x in (r.rewards, r.ref[:, 0], r.old[:, 0]))
    return (*rollouts, ref[:PAIRS], ref[PAIRS:])  # type: ignore[return-value]


def f_grpo_loss_is_the_formula() -> Claim:
    """``f_grpo_loss`` is the formula of f-grpo, with divergence, beta, gamma and softmax weights."""
    data = _data()
    rewards, ref, old, _, _ = _fixed(data)
    cases: list[dict[str, Any]] = [
        {},
        {"beta": 0.4, "gamma": 0.3},
        {"divergence": "hellinger", "beta": 0.7, "gamma": 0.2, "weighting": "softmax"},
    ]
    worst = 0.0
    for options in cases:

        def loss(r: Tensor, c: Tensor, b: Tensor, o: dict[str, Any] = options) -> Tensor:
            return functional.f_grpo_loss(r, ref, rewards, SIZE, old_logps=old, **o)

        worst = float(np.maximum(worst, _gap(data, loss, "f-grpo", **options)))
    return Claim("f_grpo_loss = the formula of f-grpo", PAPER, worst, BOUND, detail=f"{len(cases)} settings")


def fdo_loss_is_the_formula() -> Claim:
    """``fdo_loss`` is the formula of fdo."""
    data, worst = _data(), 0.0
    _, _, _, good, bad = _fixed(data)
    for options in ({}, {"divergence": "kl", "beta": 0.6}):

        def loss(r: Tensor, c: Tensor, b: Tensor, o: dict[str, Any] = options) -> Tensor:
            return functional.fdo_loss(c, good, b, bad, **o)

        worst = float(np.maximum(worst, _gap(data, loss, "fdo", **options)))
    return Claim("fdo_loss = the formula of fdo", F_DO, worst, BOUND, detail="2 settings")


def f_hal_loss_is_the_formula() -> Claim:
    """``f_hal_loss`` is the formula of f-hal, with lam, beta, gamma and softmax weights."""
    data, worst = _data(), 0.0
    rewards, ref, old, good, bad = _fixed(data)
    cases: list[dict[str, Any]] = [{}, {"lam": 0.3, "beta": 0.4, "gamma": 0.5, "divergence": "kl"},
                                   {"lam": 0.8, "weighting": "softmax"}]  # fmt: skip
    for options in cases:

        def loss(r: Tensor, c: Tensor, b: Tensor, o: dict[str, Any] = options) -> Tensor:
            return functional.f_hal_loss(r, ref, rewards, SIZE, c, good, b, bad, old_logps=old, **o)

        worst = float(np.maximum(worst, _gap(data, loss, "f-hal", **options)))
    return Claim("f_hal_loss = the formula of f-hal", PAPER, worst, BOUND, detail=f"{len(cases)} settings")


def preference_loss_pairs_rows() -> Claim:
    """``preference_loss`` takes the i-th chosen and the i-th rejected row as a pair."""
    data = _data()
    _, _, _, good, bad = _fixed(data)

    def loss(r: Tensor, c: Tensor, b: Tensor) -> Tensor:
        return functional.preference_loss(get_objective("dpo", beta=0.7), c, good, b, bad)

    return Claim("preference_loss = the formula of dpo", OURS, _gap(data, loss, "dpo", beta=0.7), BOUND)


def group_advantages_are_the_formula() -> Claim:
    """``group_advantages`` is the named estimator within groups."""
    data, worst = _data(), 0.0
    for name in ("group", "leave-one-out"):
        found = functional.group_advantages(torch.from_numpy(REWARDS), SIZE, name)
        worst = max(worst, relative(found, torch.from_numpy(advantages(data.rollouts, name))))
    return Claim("group_advantages = the estimator in numpy", OURS, worst, 1e-12, detail="2 estimators")


CLAIMS = (
    f_grpo_loss_is_the_formula,
    fdo_loss_is_the_formula,
    f_hal_loss_is_the_formula,
    preference_loss_pairs_rows,
    group_advantages_are_the_formula,
)
