"""BCO (arXiv 2404.04656)."""

from __future__ import annotations

from typing import Literal

import pydantic
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import fdiv_gym as fg
from fdiv_gym_baselines.unpaired import UnpairedObjective


class BCO(UnpairedObjective):
    """Binary classifier optimisation on responses that are labelled good or bad, one by one.

    L = -E_{D+} log sigmoid(v - delta) - E_{D-} log sigmoid(-(v - delta)), v = beta log pi/pi_ref,
    delta = (E_{D+}[v] + E_{D-}[v])/2, held constant. Source: arXiv 2404.04656, section 4. There delta is
    a running mean over steps; here it is that of the step, so a step does not depend on earlier steps.
    The released trainers take one mean over all rows (``denominator = "rows"``): on pairs half of this loss, and
    on data with few rows of one side that side weighs less.
    """

    class Options(fg.Options):
        """Options of bco."""

        beta: float = pydantic.Field(0.1, gt=0)
        """Scale of the implicit reward."""
        denominator: Literal["sides", "rows"] = "sides"
        """``sides``: one mean over the chosen and one over the rejected rows, as in the formula. ``rows``: one mean
        over all rows, as in the released trainers."""
        delta: Literal["step", "none"] = "step"
        """``step``: the middle of the two sides' mean v in this step. ``none``: 0, as in trl's loss ``bco_pair``."""

    @property
    def shifted(self) -> bool:
        """Whether delta is estimated."""
        return bool(self.options.delta == "step")

    def shift(self, v: Tensor, preferences: fg.PreferenceBatch) -> Tensor:
        """Delta; if one side is absent, the mean of the other."""
        sides = [v[side] for side in (preferences.chosen, ~preferences.chosen) if bool(side.any())]
        return sum((side.mean() for side in sides), v.new_zeros(())) / len(sides)

    def weights(self, preferences: fg.PreferenceBatch) -> Tensor:
        """1/(chosen rows) or 1/(rejected rows); or 1/(all rows)."""
        if self.options.denominator == "sides":
            return preferences.shares
        return torch.full_like(preferences.shares, 1.0 / len(preferences.shares))

    def row_loss(self, margin: Tensor) -> Tensor:
        """-log sigmoid(margin)."""
        return -logsigmoid(margin)
