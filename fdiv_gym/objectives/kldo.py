"""KLDO: the Donsker-Varadhan form of the KL divergence on preference data (arXiv 2502.00657)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch

from fdiv_gym.objectives.base import Objective, Stream
from fdiv_gym.objectives.batch import Coefficients, GroupBatch, MicroBatch, ObjectiveOutput, PreferenceBatch
from fdiv_gym.objectives.fdo import policy_log_ratio, reference_log_ratio, side_rows
from fdiv_gym.objectives.terms import side_means
from fdiv_gym.registry import options as _options

#: What the authors' release adds to the moving average before it divides by it.
MOVING_FLOOR = 1e-6
#: What it adds to the second term before it divides by it in the normalisation.
NORMALISE_FLOOR = 1e-9
MEAN_EXP = "preferences/log_mean_exp"


class KLDO(Objective):
    """KL divergence optimisation: L = -E_{D+}[v] + log E_{D-}[e^v], v = beta (log pi - log pi_ref).

    The logarithm of a mean is not a sum over rows, but its gradient is: sum_i softmax(v)_i grad v_i over
    the rejected rows of the whole step. The weights are computed once from the current policy and held
    constant, so the gradient is exact for any split. The reported value is the true one.
    Source: arXiv 2502.00657.

    The authors' release (github.com/rhaldarpurdue/KLDO, loss ``kl``) differs from the formula in two ways, each an
    option. The weights divide by a moving average of E_{D-}[e^v], because the mean of one small step is biased under
    the logarithm: w_i = e^{v_i}/(n (m_t + 1e-6)), m_t = rate E_t + (1 - rate) m_{t-1}, m_1 = E_1. And the second term
    B is multiplied by min(A, B)/(B + 1e-9), A = E_{D+}[v], held constant. The release sets rate = 0.1 and normalises.
    It restarts the average at each epoch, and both statistics are those of a process's batch; here the average runs
    through the whole run, and both are those of the step.
    """

    class Options(_options.Options):
        """Options of kldo."""

        beta: float = pydantic.Field(0.1, gt=0)
        """Scale of the implicit reward beta (log pi - log pi_ref)."""
        moving_rate: float = pydantic.Field(1.0, gt=0, le=1)
        """Weight of the step in the moving average of E_{D-}[e^v]; 1 is the step alone, and exact. The release: 0.1."""
        normalise: bool = False
        """Multiply the second term by min(A, B)/(B + 1e-9), as the release does. The factor is 1 while B <= A, 0 at the
        reference, and negative where A < 0 < B: the rejected responses are then raised."""

    streams = ("preferences",)
    needs_reference = True
    needs_policy_logps = True
    metric_meanings: ClassVar[Mapping[str, str]] = {
        MEAN_EXP: "Logarithm of the mean of e^v over the step's rejected responses, v = beta log(pi/pi_ref).",
        "preferences/normaliser": "What multiplies kldo's second term; with normalise only.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.running = self.options.moving_rate < 1
        # Both hold a statistic of the policy constant.
        self.exact_gradient = not self.running and not self.options.normalise
        self._log_average: float | None = None

    def prepare(self, groups: GroupBatch | None, preferences: PreferenceBatch | None) -> Mapping[Stream, Coefficients]:
        """Coefficient -1/(chosen rows), or the weight of v among the rejected rows."""
        assert preferences is not None
        chosen = preferences.chosen
        log_ratio = policy_log_ratio(preferences)
        v = torch.where(chosen, -torch.inf, self.options.beta * log_ratio)
        metrics: dict[str, float] = {}
        if bool(chosen.all()):
            softmax, weights, log_mean = torch.zeros_like(v), torch.zeros_like(v), 0.0
        else:
            softmax = torch.softmax(v, 0)
            log_mean = float(torch.logsumexp(v, 0)) - math.log(int((~chosen).sum()))
            weights = softmax * self._over_average(log_mean)
            metrics[MEAN_EXP] = log_mean
        if self.options.normalise and bool(chosen.any()) and not bool(chosen.all()):
            factor = _normaliser(float(self.options.beta * log_ratio[chosen].mean()), log_mean)
            metrics["preferences/normaliser"] = factor
            weights, log_mean = factor * weights, factor * log_mean
        rows = {
            "coefficient": torch.where(chosen, -preferences.shares, weights),
            # The true second term, divided among the rows by weight: the weights of the whole step add up to 1.
            "log_mean_exp": torch.where(chosen, 0.0, softmax * log_mean),
            "is_chosen": chosen,
            **side_rows(preferences),
        }
        return {"preferences": Coefficients(rows, torch.ones_like(chosen), metrics)}

    def loss(self, stream: Stream, batch: MicroBatch) -> ObjectiveOutput:
        """Sum of coefficient times v, with the true value as ``true_value``."""
        log_ratio = reference_log_ratio(batch)
        v = self.options.beta * log_ratio
        terms = batch.row("coefficient") * v
        value = torch.where(batch.rows["is_chosen"], terms.detach(), batch.row("log_mean_exp")).sum()
        metrics = side_means(stream, batch, log_ratio, ("chosen", "rejected"))
        return ObjectiveOutput(terms.sum(), metrics, value)

    def observe(self, prepared: Mapping[Stream, Coefficients]) -> None:
        """Move the average; a step without rejected responses leaves it."""
        log_mean = prepared["preferences"].metrics.get(MEAN_EXP)
        if log_mean is not None:
            self._log_average = self._moved(log_mean)

    def state_dict(self) -> Mapping[str, float]:
        """The logarithm of the moving average."""
        return {} if self._log_average is None else {"log_average": self._log_average}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore the moving average."""
        self._log_average = state.get("log_average")

    def _moved(self, log_mean: float) -> float:
        """The next log m_t from log E_t; computed in logarithms, because e^v of a long response overflows."""
        if self._log_average is None:
            return log_mean
        rate: float = self.options.moving_rate
        return _log_add(math.log(rate) + log_mean, math.log1p(-rate) + self._log_average)

    def _over_average(self, log_mean: float) -> float:
        """E_t/(m_t + 1e-6), at most 1/rate; 1 without a moving average."""
        if not self.running:
            return 1.0
        return math.exp(log_mean - _log_add(self._moved(log_mean), math.log(MOVING_FLOOR)))


def _normaliser(first: float, second: float) -> float:
    """min(A, B)/(B + 1e-9), the factor of the authors' release; 1 where its denominator is 0."""
    denominator = second + NORMALISE_FLOOR
    return 1.0 if denominator == 0 else min(first, second) / denominator


def _log_add(first: float, second: float) -> float:
    """log(e^first + e^second)."""
    return max(first, second) + math.log1p(math.exp(-abs(first - second)))
