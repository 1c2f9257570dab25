"""Truncated importance weights pi/pi_old, for updates after the policy has left the one that sampled."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from fdiv_gym.objectives.batch import MicroBatch

Level = Literal["token", "sequence"]


def importance_weights(batch: MicroBatch, level: Level, cap: float) -> Tensor:
    """min(pi/pi_old, cap), without gradient.

    Args:
        batch: the rows, with old log-probs.
        level: ``token`` for the ratio of each token, ``sequence`` for that of the whole response.
        cap: the largest weight. Truncation from above bounds the variance and biases the estimate.

    Returns:
        [b, T] (``token``; 1 outside the mask) or [b] (``sequence``).
    """
    assert batch.old_logps is not None
    log_ratio = batch.log_ratio(batch.old_logps).detach()
    if level == "sequence":
        log_ratio = log_ratio.sum(-1)
    return log_ratio.clamp(max=math.log(cap)).exp()


def weighted_change(batch: MicroBatch, weights: Tensor) -> Tensor:
    """[b]: 0, with the gradient of sum_t w_t log pi(y_t); ``weights`` are [b, T]."""
    return (weights * batch.log_ratio(batch.logps.detach())).sum(-1)


def share_truncated(stream: str, batch: MicroBatch, level: Level, cap: float) -> dict[str, Tensor]:
    """Mean over responses of the share of weights that the cap lowers, in parts that add up."""
    assert batch.old_logps is not None
    log_ratio = batch.log_ratio(batch.old_logps).detach()
    if level == "sequence":
        log_ratio = log_ratio.sum(-1)
    # The margin is above the rounding of a ratio of 1 in fp32, which a cap of 1 does not lower.
    truncated = (log_ratio > math.log(cap) + 1e-5).double()
    if level == "token":
        truncated = batch.tokens(truncated).sum(-1) / batch.lengths
    return {f"{stream}/truncated": torch.as_tensor((batch.rows["every"].double() * truncated).sum())}
