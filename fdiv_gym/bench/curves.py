"""Learning curves: the area under a curve, and what it took to reach a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fdiv_gym.bench.resampling import Values, checked
from fdiv_gym.errors import BenchError

Curve = tuple[npt.ArrayLike, npt.ArrayLike]
"""Budget spent and score, each [evaluations]."""


@dataclass(frozen=True)
class Reached:
    """What it took to reach a score.

    Args:
        value: the median over seeds of the budget spent, in its unit; None if it is not known because half of the seeds
            or more never reached the score.
        reached: number of seeds that reached it.
        seeds: number of seeds.
        each: of each seed, None if it never reached the score.
    """

    value: float | None
    reached: int
    seeds: int
    each: tuple[float | None, ...]


def area_under_curve(budget: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The area under a learning curve by the trapezoid rule, divided by the length of its budget axis.

    It is the mean height of the curve, in the unit of the scores. Compare curves over the same budget only.

    Args:
        budget: steps, tokens, verifications or seconds spent at each evaluation, increasing [evaluations].
        scores: [evaluations].

    Raises:
        BenchError: fewer than two evaluations, a score is missing, or the budget does not increase.
    """
    x, y = _curve(budget, scores)
    if len(x) < 2:
        raise BenchError("the area under a learning curve needs at least two evaluations, got 1")
    return float(np.sum(np.diff(x) * (y[:-1] + y[1:]) / 2.0) / (x[-1] - x[0]))


def budget_to_target(budget: npt.ArrayLike, scores: npt.ArrayLike, target: float) -> float | None:
    """The budget spent at the first evaluation with a score of at least ``target``; None if there is none.

    It is not interpolated: the run may have reached the score at any time since the evaluation before.

    Raises:
        BenchError: the budget does not increase, or a score is missing.
    """
    x, y = _curve(budget, scores)
    (found,) = np.nonzero(y >= target)
    return float(x[found[0]]) if len(found) else None


def median_to_target(curves: Sequence[Curve], target: float) -> Reached:
    """The median budget to a score over the seeds, where a seed that never reaches it counts as later than all others.

    Args:
        curves: budget and scores of each seed, over the same budget.
        target: in the unit of the scores.

    Raises:
        BenchError: there is no curve, a budget does not increase, or a score is missing.
    """
    if not curves:
        raise BenchError("there is no learning curve: no seed is done")
    each = tuple(budget_to_target(budget, scores, target) for budget, scores in curves)
    middle = np.median([np.inf if spent is None else spent for spent in each])
    reached = sum(spent is not None for spent in each)
    return Reached(float(middle) if np.isfinite(middle) else None, reached, len(each), each)


def _curve(budget: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Values, Values]:
    x, y = checked(budget, "budget", ("evaluations",)), checked(scores, "scores", ("evaluations",))
    if x.shape != y.shape:
        raise BenchError(f"a learning curve has one score for each evaluation, got {len(y)} scores at {len(x)}")
    if np.any(np.diff(x) <= 0):
        raise BenchError("the budget of a learning curve must increase from evaluation to evaluation")
    return x, y
