"""Truncated importance weights of the policy against the engine that sampled."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Level = Literal["token", "sequence"]
#: Log-ratios are cut at this many nats, so that every ratio is finite in fp64.
LIMIT = 300.0


def importance_weights(log_ratio: Tensor, mask: Tensor, level: Level, lower: float, upper: float) -> Tensor:
    """Weights [N, T] fp32: pi_old/q of each token, or of each response, between two bounds.

    A ratio above ``upper`` is cut to it. A ratio below ``lower`` becomes 0: the policy would hardly have sampled
    that token or response, and it has no gradient.

    Args:
        log_ratio: [N, T] log pi_old - log q, in nats; policy before the step's first update, and engine.
        mask: [N, T] bool, response tokens; the weight elsewhere is 1.
        level: ``sequence`` gives all tokens of a response the ratio of the whole response.
        lower: least ratio that is kept.
        upper: largest weight.
    """
    ratio = torch.where(mask, log_ratio.double(), 0.0)
    if level == "sequence":
        ratio = ratio.sum(-1, keepdim=True).expand_as(ratio)
    weights = ratio.clamp(-LIMIT, LIMIT).exp()
    weights = torch.where(weights < lower, 0.0, weights.clamp(max=upper))
    return torch.where(mask, weights, 1.0).float()


def weighted(logps: Tensor, weights: Tensor) -> Tensor:
    """The same values, with each token's gradient multiplied by its weight; both [b, T].

    With it the gradient of any objective becomes that of its loss with these weights held constant.
    """
    fixed = logps.detach()
    return fixed + weights.to(logps.dtype) * (logps - fixed)


def weight_sums(weights: Tensor, mask: Tensor, upper: float) -> dict[str, float]:
    """Numbers that add up over processes: tokens, their weights, and how many are cut and masked."""
    values = weights[mask]
    return {
        "tokens": float(values.numel()),
        "weights": float(values.double().sum()),
        "cut": float((values >= upper).sum()),
        "masked": float((values == 0).sum()),
    }


def weight_line(sums: dict[str, float]) -> dict[str, float]:
    """The metrics of the weights; nothing without tokens."""
    tokens = sums["tokens"]
    if not tokens:
        return {}
    return {
        "correction/mean": sums["weights"] / tokens,
        "correction/cut": sums["cut"] / tokens,
        "correction/masked": sums["masked"] / tokens,
    }
