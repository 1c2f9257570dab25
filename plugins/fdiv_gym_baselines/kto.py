"""KTO (arXiv 2402.01306, equations 7 and 8)."""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_baselines.unpaired import UnpairedObjective


class KTO(UnpairedObjective):
    """Kahneman-Tversky optimisation on responses that are labelled good or bad, one by one.

    L = (1/N) sum_i lambda_i (1 - sigmoid(+-beta [log pi/pi_ref - z0])), + and lambda_D on chosen rows,
    - and lambda_U on rejected rows, z0 = max(0, an estimate of KL(pi||pi_ref)), held constant.
    Source: arXiv 2402.01306, equations 7 and 8. There z0 is estimated on responses paired with other
    prompts; here on the step's own responses, the mean of log pi/pi_ref over its rows, because the
    contract has no mismatched rows. This estimate is larger when the log-ratio of the chosen responses rises more
    than that of the rejected ones falls. With the same z0, value and gradient are those of trl.
    """

    class Options(fg.Options):
        """Options of kto."""

        beta: float = pydantic.Field(0.1, gt=0)
        """Scale of the implicit reward: a larger value saturates gains and losses earlier."""
        desirable_weight: float = pydantic.Field(1.0, gt=0)
        """lambda_D, the weight of chosen responses."""
        undesirable_weight: float = pydantic.Field(1.0, gt=0)
        """lambda_U, the weight of rejected responses."""
        z0: Literal["step", "none"] = "step"
        """``step``: max(0, mean of log pi/pi_ref over the step's rows). ``none``: 0, the unpaired form of apo-zero."""

    @property
    def shifted(self) -> bool:
        """Whether z0 is estimated."""
        return bool(self.options.z0 == "step")

    def shift(self, v: Tensor, preferences: fg.PreferenceBatch) -> Tensor:
        """Beta z0."""
        return v.mean().clamp(min=0)

    def weights(self, preferences: fg.PreferenceBatch) -> Tensor:
        """Lambda over the number of rows: both sides share one denominator."""
        desirable = torch.full_like(preferences.shares, self.options.desirable_weight)
        return torch.where(preferences.chosen, desirable, self.options.undesirable_weight) / len(desirable)

    def row_loss(self, margin: Tensor) -> Tensor:
        """1 - sigmoid(margin), as sigmoid(-margin)."""
        return torch.sigmoid(-margin)
