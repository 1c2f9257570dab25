"""The advantage of GPRL: each dimension of the preference is standardised on its own (arXiv 2605.18721)."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_gprl.names import EIGENVALUE, SCORE, dimensions


class GPRL(fg.Advantage):
    """A_i = sum_l lambda_l m_l z_il, z_il = (s_il - mean_l)/(std_l + eps) over the prompt's responses.

    s_l are the raw group scores of a preference model, the components ``gprl/<l>`` of the judge ``gpm``, lambda_l >= 0
    the prompt's eigenvalues, ``lambda/<l>``, and m_l the multipliers that a callback sets, 1 without one. So a
    dimension of small spread weighs as much as one of large spread with the same eigenvalue. A response that lacks a
    dimension gets 0 from it. The source does not normalise the sum; ``aggregate = "mean"`` divides it by
    sum_l lambda_l m_l, which makes the advantage smaller against a KL term by about the number of dimensions if the
    eigenvalues add up to it. Source: arXiv 2605.18721.

    A step whose verdicts have no component at all takes the reward as its only dimension, with eigenvalue 1: that is
    the advantage ``group``.
    """

    class Options(fg.Options):
        """Options of the gprl advantage."""

        aggregate: Literal["sum", "mean"] = "sum"
        """Add up the dimensions, or divide the sum by that of the weights too."""
        eps: float = pydantic.Field(1e-8, ge=0)
        """Added to the standard deviation of each dimension, in units of its score."""
        correction: Literal[0, 1] = 0
        """0: the sum of squares is divided by the number n of scores, 1: by n - 1."""

    def compute(self, groups: fg.GroupBatch) -> Tensor:
        """[N] fp64.

        Raises:
            ConfigError: the verdicts have components, but not those of a preference model.
            PluginError: a multiplier is no finite number of at least 0.
        """
        each = fg.get_advantage("group", eps=self.options.eps, correction=self.options.correction)
        total, weights = torch.zeros_like(groups.rewards), torch.zeros_like(groups.rewards)
        for name, score, eigenvalue in self._read(groups):
            weight = eigenvalue * self.multiplier(name)
            part = each.compute(dataclasses.replace(groups, rewards=_present(groups, score, eigenvalue)))
            total = total + torch.where(part != 0, weight * part, 0.0)
            weights = weights + torch.where(eigenvalue.isnan(), 0.0, weight)
        if self.options.aggregate == "sum":
            return total
        return torch.where(total != 0, total / weights, 0.0)

    def compared(self, groups: fg.GroupBatch) -> list[Tensor]:
        """The scores of the dimensions that have a weight; in a preference cycle they differ, the rewards are equal."""
        weighted = [(score, e) for name, score, e in self._read(groups) if self.multiplier(name)]
        return [torch.where(e != 0, _present(groups, score, e), torch.nan) for score, e in weighted] or [
            torch.full_like(groups.rewards, torch.nan)
        ]

    def _read(self, groups: fg.GroupBatch) -> list[tuple[str, Tensor, Tensor]]:
        """The name, the scores [N] and the eigenvalues [N] of each dimension."""
        if not groups.components:
            return [("reward", groups.rewards, torch.ones_like(groups.rewards))]
        found = dimensions(groups.components)
        missing = [EIGENVALUE + d for d in found if EIGENVALUE + d not in groups.components] if found else [SCORE + "0"]
        if missing:
            names = ", ".join(sorted(groups.components))
            raise fg.ConfigError(
                f"advantage gprl: no verdict of the step has the component {missing[0]!r}; components: {names}. "
                "Let the judge 'gpm' score the environment's responses"
            )
        return [(SCORE + d, groups.components[SCORE + d], groups.components[EIGENVALUE + d]) for d in found]


def _present(groups: fg.GroupBatch, score: Tensor, eigenvalue: Tensor) -> Tensor:
    """[N]: the scores of scored responses that have both the score and the eigenvalue, NaN elsewhere."""
    return torch.where(groups.scored & ~eigenvalue.isnan(), score.double(), torch.nan)
