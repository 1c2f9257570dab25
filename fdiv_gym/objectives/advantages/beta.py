"""The advantage of BNPO: rewards divided by a beta density (arXiv 2506.02864)."""

from __future__ import annotations

from typing import Self

import pydantic
import torch
from torch import Tensor

from fdiv_gym.errors import ConfigError
from fdiv_gym.objectives.advantages.base import Advantage
from fdiv_gym.objectives.advantages.centred import informative
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.registry import options as _options

#: Variance of the prompts' means up to which they count as equal.
EQUAL = 1e-12


class BetaNormalised(Advantage):
    """a_i = (u_i - p) / Beta(p; 1 + a/3, 1 + b/3), p the mean over the scored responses of the prompt.

    u = (r - low)/(high - low) lies in [0, 1]. a and b are the parameters of the beta distribution with the mean m and
    the variance v (n - 1 in the denominator) of p over the prompts: a = m k, b = (1 - m) k, k = m (1 - m)/v - 1.
    Parameters below 1 are set to 1. The factor 1/Beta(p) is at most ``ceiling``. With fewer than two scored prompts, or
    equal p, the density is 1. Source: arXiv 2506.02864, for binary rewards, and its release for rewards in a range.
    """

    class Options(_options.Options):
        """Options of the beta-normalised advantage."""

        low: float = 0.0
        """The lowest reward."""
        high: float = 1.0
        """The highest reward."""
        ceiling: float = pydantic.Field(1e6, gt=0)
        """The factor 1/Beta(p) is at most this."""

        @pydantic.model_validator(mode="after")
        def _range(self) -> Self:
            if self.low >= self.high:
                raise ValueError(f"low must be below high, got low={self.low:g} and high={self.high:g}")
            return self

    def compute(self, groups: GroupBatch) -> Tensor:
        """[N] fp64.

        Raises:
            ConfigError: the rewards of a prompt differ, and a reward of the step lies outside [low, high].
        """
        low, high = self.options.low, self.options.high
        scores = (groups.rewards - low) / (high - low)
        if bool(groups.all_equal().all()):
            return torch.zeros_like(scores)
        outside = groups.scored & ((scores < 0) | (scores > 1))
        if bool(outside.any()):
            found = float(groups.rewards[outside][0])
            raise ConfigError(
                f"beta-normalised: a reward is {found:g}, outside [{low:g}, {high:g}]: set the advantage's low and high"
            )
        means = groups.mean(scores).clamp(0, 1)  # rounding
        factor = (-self._log_density(groups, means)).exp().clamp(max=self.options.ceiling)
        return informative(groups, (scores - means) * factor)

    def _log_density(self, groups: GroupBatch, means: Tensor) -> Tensor:
        """[N] logarithm of the beta density at each response's p; 0 where the density is 1."""
        first = torch.zeros(groups.count, dtype=torch.float64, device=means.device)
        of_prompt = first.index_copy(0, groups.index, means)
        of_prompt = of_prompt[~torch.isnan(of_prompt)]
        if of_prompt.numel() < 2 or float(of_prompt.var()) <= EQUAL:
            return torch.zeros_like(means)
        mean = of_prompt.mean()
        size = mean * (1 - mean) / of_prompt.var() - 1
        alpha = (1 + mean * size / 3).clamp(min=1)
        beta = (1 + (1 - mean) * size / 3).clamp(min=1)
        log_beta = torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)
        return torch.xlogy(alpha - 1, means) + torch.xlogy(beta - 1, 1 - means) - log_beta
