"""CISPO (arXiv 2506.13585, equations 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_baselines.clipped import clip_shares
from fdiv_gym_baselines.on_policy import OnPolicy, exp


class CISPO(OnPolicy):
    """Clipped importance sampling: the weight is clipped and held constant, so every token keeps its gradient.

    L = -1/(sum_i |y_i|) sum_i sum_t sg[clip(rho_it, 1 - eps_low, 1 + eps_high)] A_i log pi(y_it),
    A_i = (r_i - mean)/std over the responses of the prompt. Source: arXiv 2506.13585, equations 4 and 5,
    which does not clip below. The paper tunes the upper bound without stating it; 5 is our default, as in TRL,
    whose ``epsilon_high`` is the bound itself, 1 + clip_high.
    """

    class Options(OnPolicy.Options):
        """Options of cispo."""

        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef("token-mean")
        """A registered aggregation, or a table with its name and options."""
        clip_low: float = pydantic.Field(1.0, ge=0, le=1)
        """The weight is clipped below at 1 - clip_low; 1 does not clip."""
        clip_high: float = pydantic.Field(4.0, ge=0)
        """The weight is clipped above at 1 + clip_high."""

    exact_gradient = False

    metric_meanings: ClassVar[Mapping[str, str]] = {
        "rollouts/clipped": "Share of the tokens of responses in the loss whose weight is clipped, from 0 to 1.",
        "rollouts/clipped_low": "Share of the tokens of responses in the loss"
        " whose weight is raised to the lower bound, from 0 to 1.",
        "rollouts/clipped_high": "Share of the tokens of responses in the loss"
        " whose weight is lowered to the upper bound, from 0 to 1.",
    }

    def token_loss(
        self, log_ratio: Tensor, advantages: Tensor, batch: fg.MicroBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted log-likelihood and the share of tokens whose weight is clipped."""
        ratio = exp(log_ratio.detach())
        weight = ratio.clamp(1 - self.options.clip_low, 1 + self.options.clip_high)
        losses = -weight * advantages * batch.tokens(batch.logps)
        return losses, clip_shares(weight > ratio, weight < ratio, batch)
