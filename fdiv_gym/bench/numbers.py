"""Numbers of the tables: estimates as JSON, and the mean over seeds with its t interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fdiv_gym.bench.comparing import ROUNDING
from fdiv_gym.bench.resampling import DEFAULT, ONE_SEED, Estimate

Entry = dict[str, Any]
"""``value``, ``low``, ``high``, ``seeds`` and ``note``; the ends are None where the note says why."""
EQUAL = "all seeds have the same value: no spread to estimate an interval from"


def mean_over_seeds(values: npt.ArrayLike, level: float = DEFAULT.level) -> Estimate:
    """The mean of one number for each seed with its t interval.

    Args:
        values: finite [seeds].
        level: coverage of the interval.
    """
    array = np.asarray(values, dtype=np.float64)
    n, mean = len(array), float(array.mean())
    if n == 1:
        return Estimate(mean, None, None, 1, ONE_SEED)
    error = float(array.std(ddof=1)) / math.sqrt(n)
    if error <= ROUNDING * max(1.0, abs(mean)):
        return Estimate(mean, None, None, n, EQUAL)
    from scipy import stats  # fdiv_gym.bench.comparing has said which extra it is in, if it is missing

    half = float(stats.t.ppf((1.0 + level) / 2.0, n - 1)) * error
    return Estimate(mean, mean - half, mean + half, n)


def entry(estimate: Estimate) -> Entry:
    """An estimate for the tables."""
    return estimate.to_dict()


def entry_of(values: Sequence[float | None], seeds: int) -> Entry:
    """The mean over seeds of those that have a finite number; which share has none is in the note."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return nothing("no finite number", 0)
    found = entry(mean_over_seeds(known))
    if len(known) < seeds:
        found["note"] = f"{len(known)} of {seeds} seeds" + (f"; {found['note']}" if found["note"] else "")
    return found


def nothing(note: str, seeds: int = 0) -> Entry:
    """The entry of a number that does not exist, and why."""
    return {"value": None, "low": None, "high": None, "seeds": seeds, "note": note}


def plain(value: Any) -> Any:
    """The value as JSON: texts as keys, NumPy's numbers as Python's, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
