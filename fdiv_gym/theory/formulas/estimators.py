"""Advantages and aggregations in numpy, in plain loops over the responses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fdiv_gym.theory.formulas.data import Array, Rollouts


def advantages(d: Rollouts, spec: str | Mapping[str, Any]) -> Array:
    """[N]: 0 for a response without a score, or where all compared rewards are equal."""
    options: dict[str, Any] = {"name": spec} if isinstance(spec, str) else dict(spec)
    kind, eps = options["name"], options.get("eps", 1e-6)
    found = np.zeros(len(d.rewards))
    for i, own in enumerate(d.rewards):
        compared = range(len(found)) if kind == "batch" else np.flatnonzero(d.group == d.group[i])
        scored = [j for j in compared if not math.isnan(d.rewards[j])]
        rewards = [float(d.rewards[j]) for j in scored]
        if math.isnan(own) or min(rewards) == max(rewards):
            continue
        mean = sum(rewards) / len(rewards)
        if kind in ("group", "batch"):
            found[i] = (own - mean) / (math.sqrt(sum((r - mean) ** 2 for r in rewards) / len(rewards)) + eps)
        elif kind == "mean-centred":
            found[i] = own - mean
        elif kind == "leave-one-out":
            others = [float(d.rewards[j]) for j in scored if j != i]
            found[i] = own - sum(others) / len(others)
        elif kind == "max-normalised":
            found[i] = (own - mean) / max(abs(r - mean) for r in rewards)
        elif kind == "beta-normalised":
            found[i] = beta_normalised(d, i, options["low"], options["high"])
        else:
            raise KeyError(kind)
    return found


def beta_normalised(d: Rollouts, row: int, low: float, high: float) -> float:
    """(u - p)/Beta(p; 1 + a/3, 1 + b/3) of one response, arXiv 2506.02864; a, b from the moments of p."""
    scaled = (d.rewards - low) / (high - low)
    p = {g: float(np.nanmean(scaled[d.group == g])) for g in sorted(set(d.group.tolist()))}
    own, mean, variance = (
        p[int(d.group[row])],
        float(np.mean(list(p.values()))),
        float(np.var(list(p.values()), ddof=1)),
    )
    size = mean * (1 - mean) / variance - 1
    alpha, beta = max(1.0, 1 + mean * size / 3), max(1.0, 1 + (1 - mean) * size / 3)
    normaliser = math.gamma(alpha) * math.gamma(beta) / math.gamma(alpha + beta)
    density = own ** (alpha - 1) * (1 - own) ** (beta - 1) / normaliser
    return float((scaled[row] - own) / density)


def token_weights(lengths: Array, shares: Array, spec: str | Mapping[str, Any]) -> Array:
    """[N]: the weight of each token of a response; ``shares`` [N] weight the responses in a plain mean."""
    options: dict[str, Any] = {"name": spec} if isinstance(spec, str) else dict(spec)
    if options["name"] == "sequence":
        return shares / lengths
    if options["name"] == "token-mean":
        return np.full(len(lengths), 1.0 / lengths.sum())
    if options["name"] == "constant-length":
        return shares / float(options.get("length", 512))
    raise KeyError(options["name"])


def sigmoid(x: Array) -> Array:
    """1/(1 + e^-x)."""
    return 1 / (1 + np.exp(-x))
