"""Standard deviations over the responses of a prompt or of the step, unscored responses left out."""

from __future__ import annotations

import torch
from torch import Tensor

from fdiv_gym.objectives.batch import GroupBatch


def group_deviation(groups: GroupBatch, values: Tensor, correction: int) -> Tensor:
    """[N] fp64: of ``values`` over the scored responses of each response's prompt; 0 for a single one.

    Args:
        groups: the responses.
        values: [N], finite where there is a score.
        correction: subtracted from the count that the sum of squares is divided by.
    """
    squares = groups.sum((values - groups.mean(values)) ** 2)
    return (squares / (groups.sum(torch.ones_like(values)) - correction).clamp(min=1)).sqrt()


def step_deviation(values: Tensor, members: Tensor, correction: int) -> Tensor:
    """Scalar fp64: of the ``members`` of ``values``; 0 for a single one, and for none."""
    kept = values[members].double()
    if not kept.numel():
        return torch.zeros((), dtype=torch.float64, device=values.device)
    return (((kept - kept.mean()) ** 2).sum() / max(kept.numel() - correction, 1)).sqrt()
