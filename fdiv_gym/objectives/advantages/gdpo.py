"""The advantage of GDPO: every component of the reward is standardised on its own (arXiv 2601.05242)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import pydantic
import torch
from torch import Tensor

from fdiv_gym.errors import ConfigError
from fdiv_gym.objectives.advantages.base import Advantage
from fdiv_gym.objectives.advantages.group import GroupStandardised
from fdiv_gym.objectives.advantages.step import scaled
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.registry import options as _options


class GDPO(Advantage):
    """a_i = s_i / (std of s over the step + eps), s_i = sum_k w_k m_k (c_ik - mean_k)/(std_k + eps).

    c_k are the components of the verdicts, w_k their weights, m_k their ``multipliers`` (1, unless a callback sets
    them), mean_k and std_k over the prompt's responses that have the component. So a component of small spread weighs
    as much as one of large spread. A component that a response lacks adds 0. Without ``weights`` all components of the
    step weigh 1; a step without components takes the reward as its only one. Source: "GDPO: Group reward-Decoupled
    Normalization Policy Optimization", arXiv 2601.05242. The source subtracts the mean of s too, which is 0. TRL's
    ``multi_objective_aggregation = "normalize_then_sum"`` has ``correction = 1, eps = 1e-4``.
    """

    class Options(_options.Options):
        """Options of the gdpo advantage."""

        weights: dict[str, float] = pydantic.Field(default_factory=dict)
        """Weight of each component by name; empty takes every component with weight 1."""
        eps: float = pydantic.Field(1e-6, ge=0)
        """Added to the standard deviations; of components in their units, of the sum without unit."""
        correction: Literal[0, 1] = 0
        """0: sums of squares are divided by the number n of values, 1: by n - 1."""

    def compute(self, groups: GroupBatch) -> Tensor:
        """[N] fp64.

        Raises:
            ConfigError: a component with a weight is in no verdict of the step.
            PluginError: a multiplier is no finite number of at least 0.
        """
        each = GroupStandardised(eps=self.options.eps, correction=self.options.correction)
        total = torch.zeros_like(groups.rewards)
        for name, weight in self._weights(groups).items():
            values = groups.components.get(name, groups.rewards)
            part = dataclasses.replace(groups, rewards=torch.where(groups.scored, values, torch.nan))
            total = total + weight * self.multiplier(name) * each.compute(part)
        return scaled(total, groups.scored, self.options.correction, self.options.eps)

    def compared(self, groups: GroupBatch) -> list[Tensor]:
        """The components whose weight and multiplier are not 0, as far as these groups have them; or the rewards."""
        names: Mapping[str, float] = self.options.weights or dict.fromkeys(groups.components, 1.0)
        weighted = [name for name, weight in names.items() if weight * self.multiplier(name)]
        found = [groups.components[name] for name in weighted if name in groups.components]
        return found or [groups.rewards]

    def _weights(self, groups: GroupBatch) -> Mapping[str, float]:
        weights: dict[str, float] = self.options.weights
        missing = [name for name in weights if name not in groups.components]
        if missing:
            found = ", ".join(sorted(groups.components)) or "none"
            raise ConfigError(f"gdpo: no verdict of the step has the component {missing[0]!r}; components: {found}")
        return weights or dict.fromkeys(sorted(groups.components), 1.0) or {"reward": 1.0}
