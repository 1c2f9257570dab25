"""Advantages relative to all responses of a step, across prompts."""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor

from fdiv_gym.objectives.advantages.base import Advantage
from fdiv_gym.objectives.advantages.centred import LeaveOneOut, MeanCentred
from fdiv_gym.objectives.advantages.spread import step_deviation
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.registry import options as _options


class BatchStandardised(Advantage):
    """a_i = (r_i - mean) / (std + eps) over all scored responses of the step. REINFORCE++ (arXiv 2501.03262).

    It is defined for one response to a prompt. Responses to easy prompts get higher advantages than those to
    hard prompts.
    """

    class Options(_options.Options):
        """Options of the batch-standardised advantage."""

        eps: float = pydantic.Field(1e-6, ge=0)
        """Added to the standard deviation, in reward units."""
        correction: Literal[0, 1] = 0
        """0: the sum of squares is divided by the number n of scores, 1: by n - 1."""

    def compute(self, groups: GroupBatch) -> Tensor:
        """[N] fp64."""
        scored = groups.scored
        kept = groups.rewards[scored]
        if not kept.numel() or bool(kept.max() == kept.min()):
            return torch.zeros_like(groups.rewards)
        deviation = step_deviation(groups.rewards, scored, self.options.correction)
        return torch.where(scored, (groups.rewards - kept.mean()) / (deviation + self.options.eps), 0.0)


class ReinforcePlusPlus(Advantage):
    """a_i = b_i / (std of b over the step + eps), b_i = r_i - mean over the scored responses of the prompt.

    REINFORCE++ with the baseline of the prompt (arXiv 2501.03262); without a baseline it is the advantage ``batch``.
    ``baseline = "leave-one-out"`` subtracts the mean of the prompt's other responses, as TRL's RLOO does with
    ``normalize_advantages``. The source subtracts the mean of b too, which is 0 because each prompt's b add up to 0.
    The std is over responses; in the source it is over tokens, so that long responses count more.
    """

    class Options(_options.Options):
        """Options of the reinforce++ advantage."""

        baseline: Literal["mean-centred", "leave-one-out"] = "mean-centred"
        """What is subtracted from the reward: the mean of the prompt, or that of its other responses."""
        eps: float = pydantic.Field(1e-6, ge=0)
        """Added to the standard deviation, in reward units."""
        correction: Literal[0, 1] = 0
        """0: the sum of squares is divided by the number n of scores, 1: by n - 1."""

    def compute(self, groups: GroupBatch) -> Tensor:
        """[N] fp64."""
        baseline = MeanCentred() if self.options.baseline == "mean-centred" else LeaveOneOut()
        return scaled(baseline.compute(groups), groups.scored, self.options.correction, self.options.eps)


def scaled(values: Tensor, members: Tensor, correction: int, eps: float) -> Tensor:
    """[N] fp64: value/(std of the members + eps), exactly 0 where the value is."""
    deviation = step_deviation(values, members, correction)
    return torch.where(members & (values != 0), values / (deviation + eps), 0.0)
