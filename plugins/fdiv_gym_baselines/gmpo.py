"""GMPO: geometric-mean policy optimisation (arXiv 2507.20673)."""

from __future__ import annotations

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_baselines.clipped import CLIP_MEANINGS, clip_shares
from fdiv_gym_baselines.on_policy import OnPolicy, exp


class GMPO(OnPolicy):
    """The geometric mean of the clipped ratios of a response's tokens.

    L = -(1/G) sum_i A_i exp((1/|y_i|) sum_t c_it), where c_it is the token's log-ratio to the sampling policy,
    at most clip_high where A_i > 0 and at least -clip_low elsewhere; A_i = (r_i - mean)/std over the responses of
    the prompt. The range is that of the logarithm, so the ratio lies between exp(-clip_low) and exp(clip_high).
    Source: arXiv 2507.20673. Every token of a response has the same loss, so the aggregation ``sequence`` gives
    the formula.
    """

    class Options(OnPolicy.Options):
        """Options of gmpo."""

        clip_low: float = pydantic.Field(0.4, ge=0)
        """The log-ratio of a token is clipped below at -clip_low, in nats."""
        clip_high: float = pydantic.Field(0.4, ge=0)
        """The log-ratio of a token is clipped above at clip_high, in nats."""

    metric_meanings = CLIP_MEANINGS

    def token_loss(
        self, log_ratio: Tensor, advantages: Tensor, batch: fg.MicroBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The response's geometric mean times the advantage, at each of its tokens."""
        low, high = -self.options.clip_low, self.options.clip_high
        positive = advantages > 0
        clipped = torch.where(positive, log_ratio.clamp(max=high), log_ratio.clamp(min=low))
        mean = batch.sequence_sum(clipped) / batch.lengths
        losses = -(exp(mean).unsqueeze(-1) * advantages).expand_as(log_ratio)
        return losses, clip_shares((log_ratio < low) & (advantages < 0), (log_ratio > high) & positive, batch)
