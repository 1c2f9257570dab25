"""KL-Cov: tokens of high covariance are held at the sampling policy (arXiv 2505.22617)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_baselines.covariance import Covariance, selected_tokens
from fdiv_gym_baselines.on_policy import exp


class KLCov(Covariance):
    """The surrogate without clip, mean over tokens, with a penalty on the tokens that lower the entropy most.

    L = 1/(sum_i |y_i|) sum_i sum_t [-rho_it A_i + coefficient S_it |log rho_it|], S_it = 1 for the ``share`` of the
    tokens with the highest positive (A_i - mean A)(log pi_it - mean log pi), else 0; A_i = (r_i - mean)/std over the
    responses of the prompt. Source: "The Entropy Mechanism of Reinforcement Learning for Reasoning Language
    Models", arXiv 2505.22617; the penalty |log rho| is that of its release, in place of the KL divergence to
    the sampling policy. The release takes the highest covariances whatever their sign; here a token of negative
    covariance, or with A_i = 0, is never selected. At the sampling policy its gradient is 0.
    """

    class Options(Covariance.Options):
        """Options of kl-cov."""

        share: float = pydantic.Field(2e-3, gt=0, le=1)
        """Share of the response tokens that are penalised, rounded down, at least one token."""
        coefficient: float = pydantic.Field(1.0, ge=0)
        """Coefficient of the penalty, for each nat."""

    metric_meanings: ClassVar[Mapping[str, str]] = {
        "rollouts/selected": "Share of the tokens of responses in the loss"
        " that are penalised because of their covariance, from 0 to 1.",
    }

    def eligible(self, covariance: Tensor, log_ratio: Tensor, advantages: Tensor) -> Tensor:
        """Tokens of positive covariance."""
        return covariance > 0

    def token_loss(
        self, log_ratio: Tensor, advantages: Tensor, batch: fg.MicroBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The surrogate, and the penalty of the selected tokens."""
        selected, share = selected_tokens(batch)
        penalty = torch.where(selected, log_ratio.abs(), 0.0)
        losses = -exp(log_ratio) * advantages + self.options.coefficient * penalty
        return losses, {"rollouts/selected": share}
