"""Golden numbers for tests/bench from the packages that others use: rliable, and statsmodels.

They need an environment of their own, on Python 3.11. A fresh `pip install rliable` takes pandas 3, with which the
newest arch that rliable allows cannot be imported (TypeError: deprecate_kwarg), so both are pinned:

    python -m venv golden
    golden/bin/pip install rliable==1.2.0 arch==6.3.0 numpy==1.26.4 scipy==1.13.1 pandas==2.3.3 statsmodels==0.15.0
    golden/bin/python benchmarks/golden_rliable.py          # writes tests/bench/golden_rliable.json

rliable's intervals are random. Each is drawn eight times; the file has the mean of each end and the standard error of
that mean, the Monte Carlo error that a test must allow for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rliable import library, metrics
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

RESULT = Path(__file__).parents[1] / "tests" / "bench" / "golden_rliable.json"
REPEATS, DRAWS, DRAWS_OF_SLOW = 8, 1_000, 300
GAMMAS = (1.0, 0.6)
TAUS = (0.0, 0.25, 0.4, 0.5, 0.75, 1.0)


def matrices() -> dict[str, np.ndarray]:
    """Score matrices [seeds, environments]; those with one decimal have many ties."""
    random = np.random.RandomState(18)
    return {
        "five by four": random.beta(4, 3, size=(5, 4)).round(4),
        "shifted": random.beta(5, 3, size=(5, 4)).round(4),
        "ties": random.beta(3, 2, size=(7, 3)).round(1),
        "more ties": random.beta(2, 2, size=(6, 3)).round(1),
        "one environment": random.beta(2, 3, size=(10, 1)).round(3),
        "above one": (2.0 * random.beta(2, 2, size=(4, 6))).round(3),
    }


def aggregate(scores: np.ndarray) -> np.ndarray:
    """The four aggregates, the gap at each gamma."""
    gaps = [metrics.aggregate_optimality_gap(scores, gamma) for gamma in GAMMAS]
    return np.array(
        [metrics.aggregate_iqm(scores), metrics.aggregate_mean(scores), metrics.aggregate_median(scores), *gaps]
    )


def improvement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Probability of improvement, as an array of one."""
    return np.array([metrics.probability_of_improvement(first, second)])


def repeated(data: Any, function: Callable[..., np.ndarray], draws: int) -> dict[str, Any]:
    """The point estimate, and the ends of the intervals with their Monte Carlo error."""
    drawn = []
    for repeat in range(REPEATS):
        np.random.seed(repeat)  # rliable draws from numpy's global state
        point, interval = library.get_interval_estimates({"": data}, function, reps=draws)
        drawn.append(interval[""])
    ends, errors = np.mean(drawn, axis=0), np.std(drawn, axis=0, ddof=1) / np.sqrt(REPEATS)
    return {
        "value": point[""].tolist(),
        "low": ends[0].tolist(),
        "high": ends[1].tolist(),
        "low_error": errors[0].tolist(),
        "high_error": errors[1].tolist(),
    }


def main() -> None:
    """Compute and write all numbers."""
    scores = matrices()
    pairs = [("five by four", "shifted"), ("ties", "more ties"), ("five by four", "five by four")]
    p_values = [0.012, 0.2, 0.004, 0.03, 0.012, 0.9]
    effects = [
        {"seeds": n, "alpha": 0.05 / m, "effect": float(TTestPower().solve_power(nobs=n, alpha=0.05 / m, power=0.8))}
        for n, m in ((3, 1), (5, 1), (5, 10), (10, 1), (10, 45), (30, 6))
    ]
    golden = {
        "versions": {name: version(name) for name in ("rliable", "arch", "numpy", "scipy", "statsmodels")},
        "gammas": GAMMAS,
        "taus": TAUS,
        "matrices": {name: matrix.tolist() for name, matrix in scores.items()},
        "aggregates": {name: repeated(matrix, aggregate, DRAWS) for name, matrix in scores.items()},
        "profiles": {
            of: {
                name: repeated(matrix, lambda x, f=function: f(x, TAUS), DRAWS_OF_SLOW)
                for name, matrix in scores.items()
            }
            for of, function in (
                ("runs", library.score_distributions),
                ("averages", library.average_score_distributions),
            )
        },
        "improvement": [
            {"first": x, "second": y, **repeated([scores[x], scores[y]], improvement, DRAWS_OF_SLOW)} for x, y in pairs
        ],
        "holm": {"p_values": p_values, "adjusted": multipletests(p_values, method="holm")[1].tolist()},
        "paired_t_power": effects,
    }
    RESULT.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {RESULT}")


if __name__ == "__main__":
    main()
