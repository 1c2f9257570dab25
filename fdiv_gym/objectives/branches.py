"""What f-grpo, fdo and f-hal share: a divergence as an option, the sum over its branches, the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic.json_schema import SkipJsonSchema
from torch import Tensor

from fdiv_gym.advantages.base import Advantage
from fdiv_gym.divergences.base import Divergence
from fdiv_gym.objectives.batch import MicroBatch

#: A registered name, a table with a name and options, or (from Python) an instance.
DivergenceOption = str | dict[str, Any] | Annotated[Divergence, SkipJsonSchema()]
AdvantageOption = str | dict[str, Any] | Annotated[Advantage, SkipJsonSchema()]


def link_option(link: str) -> dict[str, str]:
    """The link as an option of the divergence, absent when the default is meant."""
    return {"link": link} if link else {}


def branch_sum(divergence: Divergence, v: Tensor, coefficient: Tensor) -> Tensor:
    """Sum of coefficient times branch: the positive branch where it is negative, the negative where positive.

    Args:
        divergence: gives the branches g(v) and f*(g(v)).
        v: [b] with gradient.
        coefficient: [b]; rows with 0 are not evaluated.

    Returns:
        Scalar.
    """
    good, bad = coefficient < 0, coefficient > 0
    # Indexed, not masked by multiplication: 0 * inf is NaN.
    loss = (coefficient[good] * divergence.positive(v[good])).sum()
    return loss + (coefficient[bad] * divergence.negative(v[bad])).sum()


def mean_weights(members: Tensor) -> Tensor:
    """[N] fp64: 1/(number of members) on members, 0 elsewhere, so that a sum over rows is their mean."""
    return members.double() / members.double().sum().clamp(min=1)


def branch_metrics(
    stream: str, batch: MicroBatch, log_ratio: Tensor, beyond: Tensor, sides: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Means over the step, as sums that add up: log-ratio of each side and the share of rows beyond the guard.

    Args:
        stream: prefix of the names.
        batch: the rows; ``every`` of its coefficients is 1/(rows that count).
        log_ratio: [b] sequence-level log pi - log pi_ref, in nats.
        beyond: [b] bool, where |v| exceeds the divergence's guard.
        sides: name of a side to the mean weights [b] of its rows.
    """
    ratio = log_ratio.detach().double()
    every = batch.rows["every"].double()
    metrics = {f"{stream}/beyond_guard": torch.where(beyond, every, 0.0).sum()}
    for side, weights in sides.items():
        metrics[f"{stream}/log_ratio_{side}"] = (ratio * weights.double()).sum()
    return metrics
