"""Metrics of an evaluation: means over responses; pass@k, avg@k and maj@k with bootstrap intervals over tasks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fdiv_gym.envs.base import Environment
from fdiv_gym.registry.guard import metrics_of
from fdiv_gym.rollouts.episode_means import episode_metrics
from fdiv_gym.types.transcript import Transcript

EXACT_SUBSETS = 2_000
RANDOM_SUBSETS = 400
RESAMPLES = 2_000
ENV_PREFIX = "env/"

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """The score and vote of one response.

    Args:
        score: None for a response without a score, which is left out.
        vote: the answer it votes for; None means no vote.
    """

    score: float | None
    vote: str | None


@dataclass(frozen=True)
class Metric:
    """A mean over tasks with its 95 % interval.

    Args:
        value: the mean; NaN without a task.
        low: lower end of the interval.
        high: upper end.
        tasks: number of tasks with enough scored responses.
    """

    value: float
    low: float
    high: float
    tasks: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; null for values that are not finite."""
        plain = {"value": self.value, "low": self.low, "high": self.high}
        return {**{k: v if math.isfinite(v) else None for k, v in plain.items()}, "tasks": self.tasks}


def mean_metrics(env: Environment, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over the responses of an evaluation: a line of evaluations.jsonl.

    Args:
        env: adds metrics of its own.
        records: sample records, sampled or greedy ones or both; see ``fdiv_gym.evaluation.samples``.

    Returns:
        ``score/sampled`` and ``score/greedy``, the mean score over the scored responses of each mode in the
        records (NaN if none is scored); ``unscored``, the share of the others; ``response_tokens``
        (NaN if no response is counted); ``episode/<name>``, of an environment of several turns, see
        ``fdiv_gym.rollouts.episode_metrics``; and ``env/<name>``, the environment's metrics. The latter two are over
        the sampled responses (over the greedy ones if there are no sampled ones).

    Raises:
        PluginError: the environment's ``metrics`` failed.
        EnvError: a metric of the environment is not a finite number.
    """
    metrics, modes = response_means(records), _by_mode(records)
    drawn = next(iter(modes.values()), [])
    transcripts = [Transcript.from_dict(r["transcript"]) for r in drawn]
    metrics |= episode_metrics(env, transcripts, [r["environment_tokens"] for r in drawn])
    own = metrics_of(env, drawn)
    return metrics | {f"{ENV_PREFIX}{name}": value for name, value in own.items()}


def response_means(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The part of ``mean_metrics`` that needs no environment: scores, ``unscored`` and ``response_tokens``."""
    metrics: dict[str, float] = {}
    for mode, drawn in _by_mode(records).items():
        scored = [r["verdict"]["score"] for r in drawn if r["verdict"]["score"] is not None]
        metrics[f"score/{mode}"] = sum(scored) / len(scored) if scored else math.nan
    metrics["unscored"] = sum(r["verdict"]["score"] is None for r in records) / max(len(records), 1)
    counted = [r["tokens"] for r in records if r["tokens"] is not None]  # a served model's may be unknown
    metrics["response_tokens"] = math.nan if records and not counted else sum(counted) / max(len(counted), 1)
    return metrics


def _by_mode(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    modes = {mode: [r for r in records if r["mode"] == mode] for mode in ("sampled", "greedy")}
    return {mode: drawn for mode, drawn in modes.items() if drawn}


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The probability that k of n responses, drawn without replacement, include a correct one: 1 - C(n-c, k)/C(n, k).

    An unbiased estimate of the pass rate of k new responses (Chen et al. 2021, equation 1).
    """
    if not 1 <= k <= n:
        raise ValueError(f"k must be from 1 to n = {n}, got {k}")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def majority_at_k(samples: Sequence[Sample], k: int, floor: float, seed: int = 0) -> float:
    """The expected score of the majority answer of k of the responses.

    It averages over all subsets of size k if there are at most 2 000, else over 400 random ones. Tied answers
    have equal weight; without a vote the score is ``floor``. Responses without a score must be left out.
    """
    n = len(samples)
    if not 1 <= k <= n:
        raise ValueError(f"k must be from 1 to n = {n}, got {k}")
    subsets: Any
    if math.comb(n, k) <= EXACT_SUBSETS:
        subsets = itertools.combinations(range(n), k)
    else:
        rng = np.random.default_rng(seed)
        subsets = (rng.permutation(n)[:k] for _ in range(RANDOM_SUBSETS))
    return float(np.mean([_majority([samples[int(i)] for i in subset], floor) for subset in subsets]))


def _majority(samples: Sequence[Sample], floor: float) -> float:
    classes: dict[str, list[float]] = {}
    for sample in samples:
        if sample.vote is not None:
            assert sample.score is not None
            classes.setdefault(sample.vote, []).append(sample.score)
    if not classes:
        return floor
    most = max(len(scores) for scores in classes.values())
    winners = [sum(scores) / len(scores) for scores in classes.values() if len(scores) == most]
    return sum(winners) / len(winners)


def task_values(
    tasks: Sequence[Sequence[Sample]], ks: Sequence[int], threshold: float, floor: float
) -> dict[str, Values]:
    """One value for each task and metric; NaN where a task has too few scored responses.

    Without any vote there is no maj@k: the environment has none, or nothing was said that could vote.

    Args:
        tasks: the responses of each task.
        ks: numbers of responses.
        threshold: a response is correct from this score on.
        floor: the score if no response votes.
    """
    values: dict[str, list[float]] = {}
    votes = any(sample.vote is not None for samples in tasks for sample in samples)
    for samples in tasks:
        scored = [s for s in samples if s.score is not None]
        correct = sum(s.score >= threshold for s in scored if s.score is not None)
        for k in ks:
            enough = len(scored) >= k
            values.setdefault(f"pass@{k}", []).append(pass_at_k(len(scored), correct, k) if enough else math.nan)
            if votes and k > 1:
                values.setdefault(f"maj@{k}", []).append(majority_at_k(scored, k, floor) if enough else math.nan)
        mean = sum(s.score for s in scored if s.score is not None) / len(scored) if scored else math.nan
        values.setdefault(f"avg@{len(samples)}", []).append(mean)
    return {name: np.array(column) for name, column in sorted(values.items(), key=lambda item: _order(item[0]))}


def summarise(values: Values, seed: int = 0) -> Metric:
    """Mean over tasks and its percentile bootstrap interval (2 000 resamples of whole tasks)."""
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return Metric(math.nan, math.nan, math.nan, 0)
    rng = np.random.default_rng(seed)
    means = np.array([known[rng.integers(len(known), size=len(known))].mean() for _ in range(RESAMPLES)])
    low, high = np.quantile(means, [0.025, 0.975])
    return Metric(float(known.mean()), float(low), float(high), len(known))


def default_ks(n: int) -> list[int]:
    """1, 2, 4, ... up to n, and n."""
    return sorted({*(2**i for i in range(n.bit_length()) if 2**i <= n), n})


def _order(name: str) -> tuple[int, int]:
    kind, _, k = name.partition("@")
    return ("pass", "avg", "maj").index(kind), int(k)
