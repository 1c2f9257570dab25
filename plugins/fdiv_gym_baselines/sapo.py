"""SAPO: soft adaptive policy optimisation (arXiv 2511.20347)."""

from __future__ import annotations

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_baselines.on_policy import OnPolicy, exp


class SAPO(OnPolicy):
    """A sigmoid gate on the ratio in place of the clip.

    L = -(1/G) sum_i (1/|y_i|) sum_t (4/tau) sigmoid(tau (rho_it - 1)) A_i, with tau = temperature_positive where
    A_i > 0 and temperature_negative elsewhere; A_i = (r_i - mean)/std over the responses of the prompt. The
    derivative of the gate by rho is 4 s (1 - s) with s = sigmoid(tau (rho - 1)): 1 at rho = 1 and smaller
    on both sides. Source: arXiv 2511.20347.
    """

    class Options(OnPolicy.Options):
        """Options of sapo."""

        temperature_positive: float = pydantic.Field(1.0, gt=0)
        """Temperature tau of tokens with positive advantage; the larger, the narrower the gate."""
        temperature_negative: float = pydantic.Field(1.05, gt=0)
        """Temperature tau of the other tokens."""

    def token_loss(
        self, log_ratio: Tensor, advantages: Tensor, batch: fg.MicroBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The gated ratio times the advantage."""
        options = self.options
        positive, negative = options.temperature_positive, options.temperature_negative
        tau = torch.where(advantages > 0, advantages.new_tensor(positive), negative)
        return -4 / tau * torch.sigmoid(tau * (exp(log_ratio) - 1)) * advantages, {}
