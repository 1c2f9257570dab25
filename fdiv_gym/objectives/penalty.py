"""A penalty on the divergence of the policy from the reference, for any registered divergence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import pydantic
import torch
from torch import Tensor

from fdiv_gym.divergences.base import GUARD_EXPONENT, Divergence
from fdiv_gym.objectives.batch import MicroBatch
from fdiv_gym.registry import options as _options
from fdiv_gym.registry.reference import PluginRef

#: Largest magnitude of a coefficient, 1e13: float32 holds its square, so the norm of the gradient is finite too.
LARGEST = math.exp(GUARD_EXPONENT)

PENALTY_METRICS: Mapping[str, str] = {
    "rollouts/penalty": "Estimate of D_f(policy || reference) for the objective's penalty, a mean over responses of"
    " non-negative terms weighted by pi/pi_old, 0 or more; with penalty only.",
    "rollouts/penalty_coefficient": "Mean coefficient of the penalty's score function, importance weight included; with"
    " penalty only.",
    "rollouts/penalty_second_moment": "Mean square of the coefficient of the penalty's score function; less the square"
    " of rollouts/penalty_coefficient it is the coefficient's variance; with penalty only.",
    "rollouts/penalty_truncated": "Share of responses whose penalty coefficient is held at penalty_truncation or at"
    " 1e13, from 0 to 1; with penalty only.",
}


class PenaltyOptions(_options.Options):
    """Options of a penalty on a divergence from the reference."""

    penalty: PluginRef[Divergence] | None = None
    """A registered divergence D_f(pi || pi_ref) of the sampled responses, or a table with its name and options."""
    penalty_coefficient: float = pydantic.Field(0.0, ge=0)
    """Coefficient of the penalty; above 0 exactly if there is a penalty."""
    penalty_truncation: float | None = pydantic.Field(None, gt=0)
    """Largest magnitude of f'(rho) - f'(1) times the importance weight; it lowers the variance and makes the gradient
    biased."""

    @pydantic.model_validator(mode="after")
    def _agree(self) -> Self:
        if self.penalty is None and self.penalty_coefficient > 0:
            raise ValueError("penalty_coefficient needs a divergence: set penalty, e.g. penalty = 'pearson'")
        if self.penalty is None and self.penalty_truncation is not None:
            raise ValueError("penalty_truncation needs a divergence: set penalty, e.g. penalty = 'pearson'")
        if self.penalty is not None and self.penalty_coefficient == 0:
            raise ValueError("penalty needs penalty_coefficient above 0")
        return self


class Penalty:
    """c D_f(pi || pi_ref) of whole responses, as a loss whose expected gradient is the exact one.

    The gradient of D_f is E[y ~ pi] (f'(rho) - f'(1)) grad log pi(y) with rho = pi(y)/pi_ref(y); subtracting the
    constant f'(1) changes nothing in expectation. Off the sampling policy each response is weighted by
    pi(y)/pi_old(y). Source: the score-function identity (Williams 1992, Machine Learning 8) applied to
    D_f = sum pi_ref f(pi/pi_ref).

    Log-probs are sums over the response tokens, in fp64. No reward enters: every sampled response counts, also one
    without a score. Coefficients beyond ``LARGEST``, and those of an f' that does not fit in float64, are held at
    ``LARGEST`` and counted in ``rollouts/penalty_truncated``, so the loss stays finite.

    Args:
        divergence: D_f.
        coefficient: c.
        truncation: largest magnitude of a response's coefficient, or None. The gradient is then biased.
    """

    def __init__(self, divergence: Divergence, coefficient: float, truncation: float | None = None) -> None:
        self.divergence = divergence
        self.coefficient = coefficient
        self.truncation = truncation

    @classmethod
    def of(cls, options: PenaltyOptions) -> Penalty | None:
        """The penalty that the options ask for."""
        if options.penalty is None:
            return None
        return cls(options.penalty.build(), options.penalty_coefficient, options.penalty_truncation)

    def loss(self, batch: MicroBatch, shares: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The part of the loss that these rows contribute.

        Args:
            batch: the rows, with log-probs under the reference.
            shares: [b] fp64, the weight of each response in the mean over the step.
            scale: factor of the coefficient c, the objective's ``kl_scale``.

        Returns:
            A scalar with the gradient, fp64; the value, c times the estimate of D_f, fp64 without gradient; metrics,
            which the scale does not change.
        """
        assert batch.ref_logps is not None
        with torch.no_grad():
            log_ratio = batch.tokens(batch.logps.double() - batch.ref_logps.double()).sum(-1)
            old = batch.logps if batch.old_logps is None else batch.old_logps
            log_weight = batch.tokens(batch.logps.double() - old.double()).sum(-1)
            centre = self.divergence.slope(torch.zeros_like(log_ratio))
            free = _weighted(self.divergence.slope(log_ratio) - centre, log_weight)
            limit = LARGEST if self.truncation is None else min(self.truncation, LARGEST)
            coefficients = free.clamp(-limit, limit)
            values = _weighted(self.divergence.terms(log_ratio), log_weight).clamp(max=LARGEST)
        response = batch.tokens(batch.logps.double()).sum(-1)
        loss = scale * self.coefficient * (shares * coefficients * response).sum()
        estimate = (shares * values).sum()
        metrics = {
            "rollouts/penalty": estimate,
            "rollouts/penalty_coefficient": (shares * coefficients).sum(),
            "rollouts/penalty_second_moment": (shares * coefficients**2).sum(),
            "rollouts/penalty_truncated": (shares * (free != coefficients)).sum(),
        }
        return loss, scale * self.coefficient * estimate, metrics


def _weighted(values: Tensor, log_weight: Tensor) -> Tensor:
    """``values * exp(log_weight)``, without overflow of a factor where the product is finite; [b] fp64."""
    return values.sign() * (values.abs().log() + log_weight).exp()
