"""Base of the on-policy baselines: advantages, aggregation, a k3 term, and the sum over tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.divergences import GUARD_EXPONENT, guard
from fdiv_gym.objectives import (
    PENALTY_METRICS,
    Penalty,
    PenaltyOptions,
    Stream,
    checked_advantages,
    checked_weights,
    mean_weights,
)


class OnPolicy(fg.Objective):
    """L = sum_i w_i sum_t [token_loss_it + kl_scale beta k3_it], w from the aggregation, beta >= 0, kl_scale = 1.

    k3 = exp(-d) + d - 1 with d = log pi - log pi_ref, per token (arXiv 2402.03300, equation 4). Its
    gradient is no estimate of the gradient of a KL divergence; it is used because GRPO defines it so. ``penalty`` puts
    any registered divergence in its place, see ``fdiv_gym.objectives.Penalty``.
    With ``unbiased_k3`` the term is rho k3, rho the ratio of the objective, differentiated through rho too
    (arXiv 2512.02556): with the ratio of the token its expected gradient is, for responses of one token, that of the
    KL divergence from policy to reference, and for longer ones that of each token's KL divergence at the sampled
    prefixes. An unscored response has no k3 term.

    A subclass implements ``token_loss`` and sets the defaults of its options.
    """

    class Options(PenaltyOptions):
        """Options of every on-policy baseline."""

        beta: float = pydantic.Field(0.0, ge=0)
        """Coefficient of the k3 term to the reference; 0 needs no reference."""
        advantage: fg.PluginRef[fg.Advantage] = fg.PluginRef("group")
        """A registered advantage, or a table with its name and options."""
        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef("sequence")
        """A registered aggregation, or a table with its name and options."""
        unbiased_k3: bool = False
        """Multiply the k3 term by the ratio to the sampling policy; needs beta > 0."""

        @pydantic.model_validator(mode="after")
        def _k3_is_used(self) -> Self:
            if self.penalty is not None and self.beta > 0:
                raise ValueError(f"penalty takes the place of the k3 term: set beta = 0 (it is {self.beta:g})")
            if self.unbiased_k3 and self.beta == 0:
                raise ValueError("unbiased_k3 changes the k3 term, but beta is 0: set beta > 0 or leave it out")
            return self

    streams = ("rollouts",)
    advantage: fg.Advantage
    metric_meanings: ClassVar[Mapping[str, str]] = {
        **PENALTY_METRICS,
        "rollouts/k3": "Mean k3 estimate of the KL divergence to the reference, in nats a token, 0 or more; with beta"
        " > 0 only.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.advantage = self.options.advantage.build()
        self.aggregation = self.options.aggregation.build()
        self.penalty = Penalty.of(self.options)
        anchored = self.options.beta > 0 or self.penalty is not None
        self.needs_reference = self.has_penalty = anchored
        # With a term to the reference a response without advantage still has a gradient.
        self.skips_inactive = not anchored and not self.aggregation.counts_tokens
        self.needs_scores = self.penalty is None
        if self.penalty is not None and self.penalty.truncation is not None:
            self.exact_gradient = False

    def prepare(
        self, groups: fg.GroupBatch | None, preferences: fg.PreferenceBatch | None
    ) -> Mapping[Stream, fg.Coefficients]:
        """The advantage and the token weight of each response."""
        assert groups is not None
        advantages = checked_advantages(self.advantage, groups)
        active = groups.scored if self.options.beta > 0 else advantages != 0
        weights = checked_weights(self.aggregation, groups.lengths, groups.shares)
        rows = {
            "advantage": advantages,
            "weight": torch.where(active, weights, 0.0),
            "token_share": active.double() / (groups.lengths * active).sum().clamp(min=1),
            "every": mean_weights(active),
        }
        if self.penalty is not None:
            rows["share"], active = groups.shares, torch.ones_like(active)
        return {"rollouts": fg.Coefficients(rows, active)}

    def loss(self, stream: Stream, batch: fg.MicroBatch) -> fg.ObjectiveOutput:
        """The weighted sum over response tokens."""
        log_ratio = sampling_log_ratio(batch)
        advantages = batch.row("advantage").unsqueeze(-1)
        losses, metrics = self.token_loss(log_ratio, advantages, batch)
        if self.options.beta > 0:
            assert batch.ref_logps is not None
            to_reference = k3(batch.log_ratio(batch.ref_logps))
            metrics["rollouts/k3"] = token_mean(to_reference, batch)
            if self.options.unbiased_k3:
                to_reference = to_reference * exp(self.ratio(log_ratio, batch))
            losses = losses + self.kl_scale * self.options.beta * to_reference
        loss = (batch.row("weight") * batch.sequence_sum(losses)).sum()
        if self.penalty is None:
            return fg.ObjectiveOutput(loss, metrics)
        surrogate, value, more = self.penalty.loss(batch, batch.rows["share"].double(), self.kl_scale)
        return fg.ObjectiveOutput(loss + surrogate, {**metrics, **more}, loss.detach() + value)

    def ratio(self, log_ratio: Tensor, batch: fg.MicroBatch) -> Tensor:
        """[b, T] logarithm of the ratio that the objective uses; by default that of each token."""
        return log_ratio

    def token_loss(
        self, log_ratio: Tensor, advantages: Tensor, batch: fg.MicroBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each token, and metrics that are summed over micro-batches.

        Args:
            log_ratio: [b, T] log pi - log pi_old with gradient, in nats; 0 outside the mask.
            advantages: [b, 1].
            batch: the rows.

        Returns:
            [b, T], ignored outside the mask, and a new dictionary of metrics.
        """
        raise NotImplementedError


def sampling_log_ratio(batch: fg.MicroBatch) -> Tensor:
    """[b, T] log pi - log pi_old; without old log-probs the current policy is taken as the sampling policy."""
    return batch.log_ratio(batch.logps.detach() if batch.old_logps is None else batch.old_logps)


def exp(log_ratio: Tensor) -> Tensor:
    """``exp`` with the guard of the divergences: exact up to 30 nats, finite with a gradient beyond."""
    return torch.exp(guard(log_ratio, GUARD_EXPONENT))


def k3(log_ratio: Tensor) -> Tensor:
    """exp(-d) + d - 1 >= 0, without cancellation near 0."""
    return torch.expm1(guard(-log_ratio, GUARD_EXPONENT)) + log_ratio


def token_mean(values: Tensor, batch: fg.MicroBatch) -> Tensor:
    """The rows' part of the mean over the active response tokens of the step; scalar without gradient."""
    return (batch.rows["token_share"].double() * batch.sequence_sum(values.detach().double())).sum()
