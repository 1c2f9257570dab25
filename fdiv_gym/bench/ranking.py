"""Places of a set of objectives: average rank and relative overall, with the distribution of places.

Both numbers of an objective depend on which others are in the set, so the set is drawn as a whole: a bootstrap over
seeds, stratified by environment, that takes the same seeds for every objective.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdiv_gym.bench.resampling import DEFAULT, ONE_SEED, Estimate, Resampling, Values, bootstrap, checked
from fdiv_gym.errors import BenchError

DECIMALS = 12
"""Means that agree to this many decimals are tied: their order would be rounding."""


@dataclass(frozen=True)
class Ranking:
    """A number for each objective of a set, and the shares of the places.

    Args:
        estimates: the number of each objective with its percentile interval.
        places: for each objective the probability of place 1 (the best), 2, ... [objectives] under the bootstrap; they
            add up to 1 over the places and over the objectives, tied objectives share their places. None without
            intervals.
    """

    estimates: dict[str, Estimate]
    places: dict[str, Values] | None


def ranks(scores: npt.ArrayLike) -> Values:
    """Ranks from high to low along the last axis: 1 is the highest, ties have the mean of their ranks.

    Args:
        scores: [..., objectives].
    """
    better, tied = _better_and_tied(scores)
    return np.asarray(1.0 + better + tied / 2.0)


def average_rank(scores: Mapping[str, npt.ArrayLike], how: Resampling = DEFAULT) -> Ranking:
    """The rank of each objective by its mean over seeds, averaged over the environments.

    Args:
        scores: [seeds, environments] of each objective, in the same order of seeds and environments.
        how: draws and level of the intervals.

    Returns:
        Average ranks, 1 to the number of objectives. ``places`` holds the shares of the ranks in single environments,
        averaged over environments.

    Raises:
        BenchError: fewer than two objectives, shapes that differ, or a missing score.
    """
    array = _stacked(scores)

    def of_environments(drawn: Values) -> Values:
        return np.moveaxis(drawn.mean(axis=-2), -1, -2)  # [..., environments, objectives]

    values = ranks(of_environments(array)).mean(axis=-2)
    if array.shape[1] == 1:
        return _without_intervals(scores, values, 1, ONE_SEED)
    objectives = len(array)

    def drawn_ranks(drawn: Values) -> Values:
        means = of_environments(drawn)
        average = ranks(means).mean(axis=-2)
        return np.concatenate([average[..., None], place_shares(means).mean(axis=-3)], axis=-1)

    drawn = bootstrap(array, drawn_ranks, how)  # [draws, objectives, 1 + places]
    low, high = how.quantiles(drawn[..., 0])
    shares = drawn[..., 1:].mean(axis=0)
    assert shares.shape == (objectives, objectives)
    return _with_intervals(scores, values, low, high, array.shape[1], shares)


def relative_overall(
    scores: Mapping[str, npt.ArrayLike],
    base: npt.ArrayLike,
    environments: Sequence[str] | None = None,
    how: Resampling = DEFAULT,
) -> Ranking:
    """The source's *relative overall* (arXiv 2602.05946): min-max normalised scores, averaged over environments.

    In each environment the base model has 0 and the best objective of the set 100, by means over seeds. The source
    gives no interval and does not say what holds where no objective is better than the base model: here that
    environment is refused. If it happens in some bootstrap draws, there is no interval, and the note gives their share.

    Args:
        scores: [seeds, environments] of each objective, in the same order of seeds and environments.
        base: scores of the untrained model [environments]; they are not drawn.
        environments: names of the columns, for messages.
        how: draws and level of the intervals.

    Returns:
        Percent. ``places`` holds the shares of the places by this number.

    Raises:
        BenchError: fewer than two objectives, shapes that differ, a missing score, or an environment in which no
            objective is better than the base model.
    """
    array = _stacked(scores)
    zero = checked(base, "base", ("environments",))
    seeds, columns = array.shape[1:]
    if len(zero) != columns:
        raise BenchError(f"base has {len(zero)} environments, the objectives have {columns}")

    def relative(drawn: Values) -> Values:
        """[..., objectives]; NaN where no objective is better than the base model."""
        above = np.round(drawn.mean(axis=-2) - zero, DECIMALS)  # [..., objectives, environments]
        best = above.max(axis=-2, keepdims=True)
        return np.asarray((100.0 * above / np.where(best > 0.0, best, np.nan)).mean(axis=-1))

    values = relative(array)
    if np.isnan(values).any():
        never = np.flatnonzero(np.all(np.round(array.mean(axis=1) - zero, DECIMALS) <= 0.0, axis=0))
        names = [f"environment {e}" if environments is None else environments[e] for e in map(int, never)]
        raise BenchError(
            f"relative overall is not defined on {', '.join(names)}: no objective is better than the base model. Drop "
            f"the environment for all objectives (fdiv_gym.bench.without_environments)"
        )
    if seeds == 1:
        return _without_intervals(scores, values, 1, ONE_SEED)
    drawn = bootstrap(array, relative, how)
    undefined = float(np.isnan(drawn).any(axis=-1).mean())
    if undefined > 0.0:
        note = f"no objective is better than the base model in {undefined:.2%} of the draws: no interval"
        return _without_intervals(scores, values, seeds, note)
    low, high = how.quantiles(drawn)
    return _with_intervals(scores, values, low, high, seeds, place_shares(drawn).mean(axis=0))


def place_shares(scores: npt.ArrayLike) -> Values:
    """Which place each objective has: 1 in its place, or equal shares of the places that tied objectives have together.

    Args:
        scores: [..., objectives].

    Returns:
        [..., objectives, places]; rows and columns add up to 1.
    """
    better, tied = _better_and_tied(scores)
    place = np.arange(better.shape[-1])
    inside = (place >= better[..., None]) & (place <= (better + tied)[..., None])
    return np.asarray(inside / (tied[..., None] + 1.0))


def _better_and_tied(scores: npt.ArrayLike) -> tuple[Values, Values]:
    """For each objective the numbers of others with a higher and with an equal score."""
    values = np.round(np.asarray(scores, dtype=np.float64), DECIMALS)
    others, own = values[..., None, :], values[..., :, None]
    return (others > own).sum(axis=-1).astype(np.float64), (others == own).sum(axis=-1) - 1.0


def _stacked(scores: Mapping[str, npt.ArrayLike]) -> Values:
    """[objectives, seeds, environments]."""
    if len(scores) < 2:
        raise BenchError(f"ranks need at least two objectives, got {len(scores)}")
    matrices = {name: checked(matrix, f"the matrix of {name}") for name, matrix in scores.items()}
    shapes = {name: matrix.shape for name, matrix in matrices.items()}
    if len(set(shapes.values())) > 1:
        raise BenchError(f"ranks need the same seeds and environments for every objective; the shapes are {shapes}")
    return np.stack(list(matrices.values()))


def _without_intervals(scores: Mapping[str, npt.ArrayLike], values: Values, seeds: int, note: str) -> Ranking:
    named = zip(scores, values, strict=True)
    return Ranking({name: Estimate(float(value), None, None, seeds, note) for name, value in named}, None)


def _with_intervals(
    scores: Mapping[str, npt.ArrayLike], values: Values, low: Values, high: Values, seeds: int, shares: Values
) -> Ranking:
    rows = zip(scores, values, low, high, strict=True)
    estimates = {name: Estimate(float(value), float(lo), float(hi), seeds) for name, value, lo, hi in rows}
    return Ranking(estimates, dict(zip(scores, shares, strict=True)))
