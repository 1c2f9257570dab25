"""What is measured on the held-out pairs: accuracy, calibration, cycles and the use of each dimension."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fdiv_gym.types import PreferenceUnit
from fdiv_gym_gprl import preference

BINS = 10
"""Bins of equal width of the confidence, from .5 to 1."""
TRIPLES = 100_000
"""Most triples that one evaluation looks at."""


def pair_measures(dimension_scores: Tensor, eigenvalues: Tensor, tau: float) -> dict[str, float]:
    """Measures of pairs whose first response is the better one.

    Args:
        dimension_scores: [N, k] s_l(chosen > rejected), N at least 1.
        eigenvalues: [N, k].
        tau: temperature of the probability.
    """
    scores = preference(eigenvalues, dimension_scores).double()
    probability = torch.sigmoid(scores / tau)
    line = {
        "heldout/accuracy": float((scores > 0).double().mean()),
        "heldout/loss": float(-torch.nn.functional.logsigmoid(scores / tau).mean()),
        "heldout/brier": float((1 - probability).square().mean()),
        "heldout/ece": calibration_error(scores, probability),
    }
    return line | dimension_shares(dimension_scores, eigenvalues)


def calibration_error(scores: Tensor, probability: Tensor) -> float:
    """Expected calibration error: mean |share right - mean confidence| over bins of confidence max(p, 1 - p).

    Source: arXiv 1706.04599, section 2, with the two outcomes of a pair as classes.

    Args:
        scores: [N] fp64; a tie, 0, is wrong.
        probability: [N] fp64 of the better response.
    """
    confidence = torch.maximum(probability, 1 - probability)
    right = (scores > 0).double()
    place = ((confidence - 0.5) * 2 * BINS).long().clamp(0, BINS - 1)
    gap = torch.zeros(BINS, dtype=torch.float64, device=scores.device).index_add(0, place, right - confidence)
    return float(gap.abs().sum() / len(scores))


def dimension_shares(dimension_scores: Tensor, eigenvalues: Tensor) -> dict[str, float]:
    """``dimension/<l>/share``: mean share of |lambda_l s_l| in the sum; equal shares where that is 0."""
    parts = (eigenvalues * dimension_scores).double().abs()
    total = parts.sum(-1, keepdim=True)
    shares = torch.where(total > 0, parts / total, torch.full_like(parts, 1 / parts.shape[-1]))
    return {f"dimension/{number}/share": float(share) for number, share in enumerate(shares.mean(0))}


def triple_measures(units: Sequence[PreferenceUnit], scores: Sequence[float]) -> dict[str, float]:
    """Cycles among three responses to one prompt, all three pairs of which are in the data.

    Args:
        units: the pairs.
        scores: s(chosen > rejected) of each.

    Returns:
        ``triples/count``; where it is not 0 also ``triples/cyclic_data`` and ``triples/cyclic``, the shares that are a
        cycle in the data and by the model, and ``triples/right``, the share whose three pairs the model has right.
    """
    count = cyclic_data = cyclic = right = 0
    for signs, predicted in _triples(units, scores):
        count += 1
        cyclic_data += abs(sum(signs)) == 3
        cyclic += abs(sum(predicted)) == 3
        right += signs == predicted
    line = {"triples/count": float(count)}
    if count:
        line |= {
            "triples/cyclic_data": cyclic_data / count, "triples/cyclic": cyclic / count, "triples/right": right / count
        }  # fmt: skip
    return line


def _triples(
    units: Sequence[PreferenceUnit], scores: Sequence[float]
) -> Iterator[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """Signs of a > b, b > c and c > a in the data and by the model; all equal is a cycle, 0 is a tie."""
    found = itertools.islice(itertools.chain.from_iterable(map(_triangles, _graphs(units, scores))), TRIPLES)
    yield from found


Edges = dict[tuple[str, str], tuple[int, float]]


def _graphs(units: Sequence[PreferenceUnit], scores: Sequence[float]) -> list[Edges]:
    """For each prompt the pairs both ways round, without those that the data has both ways."""
    graphs: dict[object, Edges] = {}
    both: set[tuple[object, str, str]] = set()
    for unit, score in zip(units, scores, strict=True):
        if unit.chosen is None or unit.rejected is None:
            continue
        edges = graphs.setdefault(unit.prompt, {})
        if (unit.rejected, unit.chosen) in edges and edges[unit.rejected, unit.chosen][0] == 1:
            both.add((unit.prompt, unit.chosen, unit.rejected))
        edges[unit.chosen, unit.rejected] = (1, score)
        edges[unit.rejected, unit.chosen] = (-1, -score)
    for prompt, a, b in both:
        graphs[prompt].pop((a, b), None)
        graphs[prompt].pop((b, a), None)
    return list(graphs.values())


def _triangles(edges: Edges) -> Iterator[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    beside: dict[str, set[str]] = {}
    for a, b in edges:
        beside.setdefault(a, set()).add(b)
    place = {item: number for number, item in enumerate(beside)}
    for a, b in edges:
        if place[a] > place[b]:
            continue
        for c in sorted(beside[a] & beside[b], key=place.__getitem__):
            if place[c] > place[b]:
                sides = [edges[a, b], edges[b, c], edges[c, a]]
                x, y, z = (side[0] for side in sides)
                p, q, r = (_sign(side[1]) for side in sides)
                yield (x, y, z), (p, q, r)


def _sign(score: float) -> int:
    return 0 if score == 0 or math.isnan(score) else 1 if score > 0 else -1
