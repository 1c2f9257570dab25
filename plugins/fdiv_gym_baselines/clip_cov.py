"""Clip-Cov: tokens of high covariance lose their gradient (arXiv 2505.22617)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_baselines.clipped import CLIP_MEANINGS, surrogate
from fdiv_gym_baselines.covariance import Covariance, selected_tokens
from fdiv_gym_baselines.on_policy import exp


class ClipCov(Covariance):
    """The clipped surrogate, mean over tokens, without the tokens that lower the entropy most.

    L = -1/(sum_i |y_i|) sum over tokens that are not selected of min[rho_it A_i, clip(rho_it) A_i],
    A_i = (r_i - mean)/std over the responses of the prompt. Selected are ``share`` of the tokens, among those whose
    (A_i - mean A)(log pi_it - mean log pi) lies between ``covariance_low`` and ``covariance_high`` and that are not
    clipped. Source: "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models", arXiv
    2505.22617. The source draws the tokens at random in this range; here those of the highest covariance are
    taken, so that the loss is a function of its inputs.
    """

    class Options(Covariance.Options):
        """Options of clip-cov."""

        clip_low: float = pydantic.Field(1.0, ge=0, le=1)
        """The ratio is clipped below at 1 - clip_low; 1 does not clip, as in the source's release."""
        clip_high: float = pydantic.Field(1.0, ge=0)
        """The ratio is clipped above at 1 + clip_high."""
        covariance_low: float = 1.0
        """Tokens of a covariance up to this are not selected, in units of the advantage times nats."""
        covariance_high: float = 5.0
        """Tokens of a covariance from this on are not selected."""

    metric_meanings: ClassVar[Mapping[str, str]] = {
        **CLIP_MEANINGS,
        "rollouts/selected": "Share of the tokens of responses in the loss"
        " without gradient because of their covariance, from 0 to 1.",
    }

    def eligible(self, covariance: Tensor, log_ratio: Tensor, advantages: Tensor) -> Tensor:
        """Tokens in the range that are not clipped."""
        low, high = 1 - self.options.clip_low, 1 + self.options.clip_high
        ratio = log_ratio.exp()
        clipped: Tensor = ((ratio < low) & (advantages < 0)) | ((ratio > high) & (advantages > 0))
        inside: Tensor = (covariance > self.options.covariance_low) & (covariance < self.options.covariance_high)
        return inside & ~clipped

    def token_loss(
        self, log_ratio: Tensor, advantages: Tensor, batch: fg.MicroBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The clipped surrogate of the tokens that are not selected."""
        low, high = 1 - self.options.clip_low, 1 + self.options.clip_high
        losses, metrics = surrogate(exp(log_ratio), advantages, low, high, batch)
        selected, share = selected_tokens(batch)
        return torch.where(selected, 0.0, losses), {**metrics, "rollouts/selected": share}
