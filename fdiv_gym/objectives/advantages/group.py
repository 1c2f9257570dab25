"""The group-standardised advantage of GRPO and f-GRPO."""

from __future__ import annotations

from typing import Literal

import pydantic
from torch import Tensor

from fdiv_gym.objectives.advantages.base import Advantage
from fdiv_gym.objectives.advantages.centred import informative
from fdiv_gym.objectives.advantages.spread import group_deviation, step_deviation
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.registry import options as _options


class GroupStandardised(Advantage):
    """a_i = (r_i - mean) / (std + eps) over the scored responses of the prompt.

    The std divides the sum of squares by the count of scored responses less ``correction``. TRL has
    ``correction = 1, eps = 1e-4``, which makes advantages smaller by sqrt((G - 1)/G), and by ``scale = "step"``
    its ``scale_rewards = "batch"``: the mean is that of the prompt, the std that of all rewards of the step
    (arXiv 2508.08221).
    """

    class Options(_options.Options):
        """Options of the group-standardised advantage."""

        eps: float = pydantic.Field(1e-6, ge=0)
        """Added to the standard deviation, in reward units."""
        correction: Literal[0, 1] = 0
        """0: the sum of squares is divided by the number n of scores, 1: by n - 1."""
        scale: Literal["prompt", "step"] = "prompt"
        """Whose rewards the standard deviation is of: those of the prompt, or all of the step."""

    def compute(self, groups: GroupBatch) -> Tensor:
        """[N] fp64."""
        centred = groups.rewards - groups.mean(groups.rewards)
        if self.options.scale == "step":
            deviation = step_deviation(groups.rewards, groups.scored, self.options.correction)
        else:
            deviation = group_deviation(groups, groups.rewards, self.options.correction)
        return informative(groups, centred / (deviation + self.options.eps))
