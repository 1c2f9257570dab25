"""What the statistics of the bench share: checks of score matrices, estimates with intervals, bootstrap draws.

A score matrix has the shape [seeds, environments]; scores are normalised, 0 to 1 by the environments' ranges, and have
no unit. A cell that failed is NaN. No statistic is computed from a matrix with such a cell: a mean over the other
cells would compare objectives on different seeds or environments. ``without_environments`` drops an environment for
all objectives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fdiv_gym.errors import BenchError

Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

ONE_SEED = "one seed: no interval"
CELLS_NAMED = 6
DRAWN_AT_ONCE = 500
"""Bootstrap draws that are in memory at one time."""


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn.

    Args:
        draws: number of bootstrap draws.
        level: nominal coverage of an interval, between 0 and 1.
        seed: of the draws. The same seed gives the same numbers with every version of numpy.
    """

    draws: int = 10_000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 1 or not 0.0 < self.level < 1.0:
            raise BenchError(f"resampling needs at least one draw and a level between 0 and 1, got {self}")

    def random(self) -> np.random.RandomState:
        """A new random state: numpy keeps its stream fixed, while that of a Generator may change between versions."""
        return np.random.RandomState(self.seed)

    def quantiles(self, drawn: Values) -> tuple[Values, Values]:
        """The lower and upper end of the percentile intervals of ``drawn`` [draws, ...]."""
        tail = (1.0 - self.level) / 2.0
        low, high = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
        return low, high


DEFAULT = Resampling()


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, or the reason why it has none.

    Args:
        value: the point estimate, from the scores as they are.
        low: lower end of the interval; None without an interval.
        high: upper end; None without an interval.
        seeds: number of seeds that it rests on.
        note: why there is no interval.
    """

    value: float
    low: float | None
    high: float | None
    seeds: int
    note: str = ""

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None) or (self.low is None) != bool(self.note):
            raise BenchError(f"an estimate has both ends of an interval or a note why it has none, got {self}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; null for the ends of an interval that does not exist."""
        return {"value": self.value, "low": self.low, "high": self.high, "seeds": self.seeds, "note": self.note}


def checked(scores: npt.ArrayLike, what: str = "scores", axes: Sequence[str] = ("seeds", "environments")) -> Values:
    """The scores as an array of doubles.

    Args:
        scores: array with one axis for each name in ``axes``.
        what: the name of the array in messages.
        axes: the names of its axes.

    Raises:
        BenchError: an axis is missing or empty, or a score is missing (NaN) or infinite; the message names the cells.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != len(axes) or array.size == 0:
        expected = f"[{', '.join(axes)}], none of them empty"
        raise BenchError(f"{what} must have the axes {expected}; the shape is {array.shape}")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        cells = [", ".join(f"{axis} {i}" for axis, i in zip(axes, cell, strict=True)) for cell in bad[:CELLS_NAMED]]
        if "environments" in axes:
            raise _missing(what, cells, len(bad))
        raise BenchError(f"{what} has no finite number for {'; '.join(cells)}")
    return array


def require_complete(scores: Mapping[str, Values], environments: Sequence[str], seeds: Sequence[int]) -> None:
    """Refuse a set of score matrices with a missing cell, by the names of the cells.

    Args:
        scores: [seeds, environments] for each objective.
        environments: names of the columns.
        seeds: of the rows.

    Raises:
        BenchError: a matrix has another shape, or a cell is NaN or infinite.
    """
    cells = []
    for objective, matrix in scores.items():
        if matrix.shape != (len(seeds), len(environments)):
            raise BenchError(
                f"the scores of {objective} have the shape {matrix.shape}, "
                f"expected {len(seeds)} seeds and {len(environments)} environments"
            )
        cells += [f"{objective} on {environments[e]}, seed {seeds[s]}" for s, e in np.argwhere(~np.isfinite(matrix))]
    if cells:
        raise _missing("the bench", cells[:CELLS_NAMED], len(cells))


def without_environments(
    scores: Mapping[str, Values], environments: Sequence[str], dropped: Collection[str]
) -> tuple[dict[str, Values], tuple[str, ...]]:
    """The score matrices of all objectives without some environments.

    Args:
        scores: [seeds, environments] for each objective.
        environments: names of the columns.
        dropped: names of the environments to drop.

    Returns:
        The smaller matrices and the names of their columns.

    Raises:
        BenchError: a name is not an environment, or none would be left.
    """
    unknown = sorted(set(dropped) - set(environments))
    if unknown:
        raise BenchError(f"no such environment: {', '.join(unknown)}; the matrix has {', '.join(environments)}")
    kept = [i for i, name in enumerate(environments) if name not in dropped]
    if not kept:
        raise BenchError("no environment is left: keep at least one that every objective finished")
    return {name: matrix[:, kept] for name, matrix in scores.items()}, tuple(environments[i] for i in kept)


def stratified_draws(seeds: int, environments: int, how: Resampling = DEFAULT) -> Iterator[Indices]:
    """Bootstrap draws of seeds, with replacement and independent between environments (Agarwal et al. 2021, section 4).

    Yields:
        Arrays [some draws, seeds, environments] of row numbers, ``how.draws`` draws in all.
    """
    random = how.random()
    for start in range(0, how.draws, DRAWN_AT_ONCE):
        shape = (min(DRAWN_AT_ONCE, how.draws - start), seeds, environments)
        yield random.randint(0, seeds, size=shape, dtype=np.intp)


def bootstrap(scores: Values, statistic: Callable[[Values], Values], how: Resampling = DEFAULT) -> Values:
    """The statistic of each bootstrap draw.

    Args:
        scores: [..., seeds, environments]; leading axes, for example objectives, share the drawn seeds.
        statistic: maps [draws, ..., seeds, environments] to [draws, ...].
        how: number of draws and their seed.

    Returns:
        The statistic of each draw, [draws, ...].
    """
    seeds, environments = scores.shape[-2:]
    columns = np.arange(environments)
    parts = []
    for rows in stratified_draws(seeds, environments, how):
        drawn = scores[..., rows, columns]  # [..., draws, seeds, environments]
        parts.append(statistic(np.moveaxis(drawn, -3, 0)))
    return np.concatenate(parts)


def counts(random: np.random.RandomState, draws: int, size: int, taken: int) -> Values:
    """How often each of ``size`` things is among ``taken`` things drawn with replacement: [draws, size]."""
    places = random.randint(0, size, size=(draws, taken), dtype=np.intp) + size * np.arange(draws)[:, None]
    return np.bincount(places.ravel(), minlength=draws * size).reshape(draws, size).astype(np.float64)


def _missing(what: str, cells: Sequence[str], total: int) -> BenchError:
    more = f" and {total - len(cells)} more" if total > len(cells) else ""
    return BenchError(
        f"{what} has no score for {'; '.join(cells)}{more}. Run these cells again, or drop their environments for all "
        f"objectives (fdiv_gym.bench.without_environments)"
    )
