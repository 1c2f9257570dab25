"""The clipped surrogate of PPO (arXiv 1707.06347, equation 7), on the ratio that a subclass defines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_baselines.on_policy import OnPolicy, exp, token_mean

CLIP_MEANINGS: Mapping[str, str] = {
    "rollouts/clipped": "Share of the tokens of responses in the loss whose ratio is clipped, from 0 to 1.",
    "rollouts/clipped_low": "Share of the tokens of responses in the loss"
    " without gradient because their advantage is negative and their"
    " ratio below the lower bound, from 0 to 1.",
    "rollouts/clipped_high": "Share of the tokens of responses in the loss"
    " without gradient because their advantage is positive and their"
    " ratio above the upper bound, from 0 to 1.",
}


class Clipped(OnPolicy):
    """token_loss = -min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A), rho = pi/pi_old of the token."""

    class Options(OnPolicy.Options):
        """Options of every clipped objective."""

        clip_low: float = pydantic.Field(0.2, ge=0, le=1)
        """The ratio is clipped below at 1 - clip_low."""
        clip_high: float = pydantic.Field(0.2, ge=0)
        """The ratio is clipped above at 1 + clip_high."""

    metric_meanings: ClassVar[Mapping[str, str]] = CLIP_MEANINGS

    def token_loss(
        self, log_ratio: Tensor, advantages: Tensor, batch: fg.MicroBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The clipped surrogate and the shares of tokens without gradient."""
        low, high = 1 - self.options.clip_low, 1 + self.options.clip_high
        return surrogate(exp(self.ratio(log_ratio, batch)), advantages, low, high, batch)


def surrogate(
    ratio: Tensor, advantages: Tensor, low: float, high: float, batch: fg.MicroBatch
) -> tuple[Tensor, dict[str, Tensor]]:
    """-min(ratio A, clip(ratio, low, high) A), and the shares of tokens without gradient.

    Args:
        ratio: [b, T] with gradient.
        advantages: [b, 1].
        low: lower bound of the ratio.
        high: upper bound of the ratio.
        batch: the rows.
    """
    losses = -torch.minimum(ratio * advantages, ratio.clamp(low, high) * advantages)
    return losses, clip_shares((ratio < low) & (advantages < 0), (ratio > high) & (advantages > 0), batch)


def clip_shares(low: Tensor, high: Tensor, batch: fg.MicroBatch) -> dict[str, Tensor]:
    """The shares of response tokens that are clipped below, above, and in either way; ``low``, ``high`` [b, T] bool."""
    return {
        "rollouts/clipped": token_mean(low | high, batch),
        "rollouts/clipped_low": token_mean(low, batch),
        "rollouts/clipped_high": token_mean(high, batch),
    }
