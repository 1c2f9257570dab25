"""Advantages and aggregations in numpy, in plain loops over the responses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from fdiv_gym.theory.formulas.data import Array, Rollouts


def advantages(d: Rollouts, spec: str | Mapping[str, Any]) -> Array:
    """[N]: 0 for a response without a score, or where all compared rewards are equal.

    Besides the registered names, ``{"name": "given", "values": (...)}`` are advantages that were computed before.
    """
    options: dict[str, Any] = {"name": spec} if isinstance(spec, str) else dict(spec)
    return np.array(_advantages(d.rewards.tobytes(), d.group.tobytes(), tuple(sorted(options.items()))))


@lru_cache(maxsize=1024)
def _advantages(rewards: bytes, group: bytes, options: tuple[tuple[str, Any], ...]) -> tuple[float, ...]:
    """Kept, because central differences ask for the same advantages once for each token; bytes, as NaN != NaN."""
    given = dict(options)
    if given["name"] == "given":
        return tuple(given["values"])
    return tuple(estimated(np.frombuffer(rewards), np.frombuffer(group, np.int64), given, {}).tolist())


def estimated(rewards: Array, group: Array, options: Mapping[str, Any], components: Mapping[str, Array]) -> Array:
    """[N]: the advantages of one estimator; ``components`` [N] each are the parts of the verdicts, for gdpo, gprl."""
    if options["name"] in ("gdpo", "gprl"):
        of_components = gdpo if options["name"] == "gdpo" else gprl
        return of_components(rewards, group, components, **{k: v for k, v in options.items() if k != "name"})
    if options["name"] == "reinforce++":
        baseline = {"name": options.get("baseline", "mean-centred")}
        return over_deviation(estimated(rewards, group, baseline, {}), rewards, options)
    found = np.zeros(len(rewards))
    for i, own in enumerate(rewards):
        compared = range(len(found)) if options["name"] == "batch" else np.flatnonzero(group == group[i])
        scored = [int(j) for j in compared if not math.isnan(rewards[j])]
        values = [float(rewards[j]) for j in scored]
        if math.isnan(own) or min(values) == max(values):
            continue
        found[i] = one_advantage(rewards, group, i, scored, options)
    return found


def one_advantage(rewards: Array, group: Array, row: int, scored: list[int], options: Mapping[str, Any]) -> float:
    """The advantage of one response, relative to the responses ``scored``."""
    kind, own, values = options["name"], float(rewards[row]), [float(rewards[j]) for j in scored]
    eps, correction = options.get("eps", 1e-6), options.get("correction", 0)
    mean = sum(values) / len(values)
    if kind in ("group", "batch"):
        spread = values if options.get("scale", "prompt") == "prompt" else rewards[~np.isnan(rewards)].tolist()
        return float((own - mean) / (deviation(spread, correction) + eps))
    if kind == "mean-centred":
        return own - mean
    if kind == "leave-one-out":
        others = [float(rewards[j]) for j in scored if j != row]
        return own - sum(others) / len(others)
    if kind == "max-normalised":
        return float((own - mean) / max(abs(r - mean) for r in values))
    if kind == "beta-normalised":
        return beta_normalised(rewards, group, row, options.get("low", 0.0), options.get("high", 1.0))
    raise KeyError(kind)


def deviation(values: list[float], correction: int) -> float:
    """The root of the sum of squared deviations over the count less ``correction``."""
    mean = sum(values) / len(values)
    return math.sqrt(sum((x - mean) ** 2 for x in values) / max(len(values) - correction, 1))


def over_deviation(values: Array, rewards: Array, options: Mapping[str, Any]) -> Array:
    """[N]: values over their deviation among the scored responses of the step."""
    spread = deviation(values[~np.isnan(rewards)].tolist(), options.get("correction", 0))
    return np.asarray(values / (spread + options.get("eps", 1e-6)))


def gdpo(
    rewards: Array, group: Array, components: Mapping[str, Array], *, weights: Mapping[str, float] | None = None,
    eps: float = 1e-6, correction: int = 0,
) -> Array:  # fmt: skip
    """GDPO, arXiv 2601.05242: components standardised in their groups, summed with weights, over their deviation."""
    parts = components or {"reward": rewards}
    options = {"name": "group", "eps": eps, "correction": correction}
    total = np.zeros(len(rewards))
    for name, weight in (weights or dict.fromkeys(parts, 1.0)).items():
        values = np.where(np.isnan(rewards), np.nan, parts[name])
        total = total + weight * estimated(values, group, options, {})
    return over_deviation(total, rewards, options)


def gprl(
    rewards: Array, group: Array, components: Mapping[str, Array], *, aggregate: str = "sum", eps: float = 1e-8,
    correction: int = 0, multipliers: Mapping[str, float] | None = None,
) -> Array:  # fmt: skip
    """GPRL, arXiv 2605.18721: scores gprl/<l> standardised in their groups, summed with lambda/<l> times m_l."""
    names = [name.removeprefix("gprl/") for name in components if name.startswith("gprl/")]
    parts = {f"gprl/{n}": (components[f"gprl/{n}"], components[f"lambda/{n}"]) for n in names}
    total, weights = np.zeros(len(rewards)), np.zeros(len(rewards))
    for name, (scores, eigenvalues) in (parts or {"reward": (rewards, np.ones(len(rewards)))}).items():
        values = np.where(np.isnan(rewards) | np.isnan(eigenvalues), np.nan, scores)
        z = estimated(values, group, {"name": "group", "eps": eps, "correction": correction}, {})
        weight = (multipliers or {}).get(name, 1.0) * np.nan_to_num(eigenvalues)
        total, weights = total + weight * z, weights + weight
    return total if aggregate == "sum" else np.divide(total, weights, out=np.zeros(len(total)), where=weights > 0)


def beta_normalised(rewards: Array, group: Array, row: int, low: float, high: float) -> float:
    """(u - p)/Beta(p; 1 + a/3, 1 + b/3) of one response, arXiv 2506.02864; a, b from the moments of p."""
    scaled = (rewards - low) / (high - low)
    p = {g: float(np.nanmean(scaled[group == g])) for g in sorted(set(group.tolist()))}
    own, mean, variance = (
        p[int(group[row])],
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
