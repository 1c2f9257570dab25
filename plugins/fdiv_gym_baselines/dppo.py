"""DPPO: divergence proximal policy optimisation (arXiv 2602.04879)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_baselines.clipped import clip_shares
from fdiv_gym_baselines.on_policy import OnPolicy, exp

#: The log-prob of a token is at most this, so that log(1 - pi) is finite.
HIGHEST = -1e-12


class DPPO(OnPolicy):
    """A trust region of the token's divergence, in place of the clip of its ratio.

    L = -1/(sum_i |y_i|) sum_i sum_t M_it sg[min(rho_it, truncation)] A_i log pi(y_it), with M_it = 0 where the
    update would move the token further out of the region, that is where A_i > 0, rho_it > 1 and D_it > delta_high,
    or A_i < 0, rho_it < 1 and D_it > delta_low; else 1. D is the divergence of two-outcome distributions, the
    sampled token against all others: ``tv`` |pi - pi_old|, or ``kl``
    pi_old log(pi_old/pi) + (1 - pi_old) log((1 - pi_old)/(1 - pi)). A_i = (r_i - mean)/std over the responses
    of the prompt. Source: "Rethinking the Trust Region in LLM Reinforcement Learning", arXiv 2602.04879, the
    binary variants; those over the most likely tokens need the whole distribution and are not built.
    """

    class Options(OnPolicy.Options):
        """Options of dppo."""

        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef("token-mean")
        """A registered aggregation, or a table with its name and options."""
        region: Literal["tv", "kl"] = "tv"
        """Divergence of the trust region: total variation, or KL from the sampling policy to the policy."""
        delta_low: float = pydantic.Field(0.15, ge=0)
        """Radius for tokens with negative advantage; the source takes 0.15 for tv and 0.05 for kl (nats)."""
        delta_high: float = pydantic.Field(0.15, ge=0)
        """Radius for tokens with positive advantage."""
        truncation: float = pydantic.Field(20.0, ge=1)
        """The importance weight is at most this. 20 is a choice of fdiv-gym; the source's release falls back to 10."""

    exact_gradient = False

    metric_meanings: ClassVar[Mapping[str, str]] = {
        "rollouts/clipped": "Share of the tokens of responses in the loss masked by the trust region, from 0 to 1.",
        "rollouts/clipped_low": "Share of the tokens of responses in the loss"
        " masked because their advantage is negative and their"
        " probability has fallen out of the trust region, from 0 to 1.",
        "rollouts/clipped_high": "Share of the tokens of responses in the loss"
        " masked because their advantage is positive and their"
        " probability has risen out of the trust region, from 0 to 1.",
    }

    def token_loss(
        self, log_ratio: Tensor, advantages: Tensor, batch: fg.MicroBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted log-likelihood of the tokens inside the region, and the shares outside."""
        logps = batch.tokens(batch.logps)
        distance, change = self._distance(logps.detach(), log_ratio.detach()), log_ratio.detach()
        low = (advantages < 0) & (change < 0) & (distance > self.options.delta_low)
        high = (advantages > 0) & (change > 0) & (distance > self.options.delta_high)
        weight = exp(change).clamp(max=self.options.truncation)
        losses = torch.where(low | high, 0.0, -weight * advantages * logps)
        return losses, clip_shares(low, high, batch)

    def _distance(self, logps: Tensor, log_ratio: Tensor) -> Tensor:
        """[b, T] divergence between the token's two-outcome distributions under policy and sampling policy."""
        new, old = logps.clamp(max=HIGHEST), (logps - log_ratio).clamp(max=HIGHEST)
        if self.options.region == "tv":
            return (new.exp() - old.exp()).abs()
        others = torch.log(-torch.expm1(old)) - torch.log(-torch.expm1(new))
        return old.exp() * (old - new) - torch.expm1(old) * others
