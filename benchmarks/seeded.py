"""What benchmarks of many seeds share: runs that are kept and not repeated, intervals, corrected p-values."""

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from scipy import stats

Job = tuple[str, int, float]
"""Variant, seed, learning rate."""


def run_all(train: Callable[..., dict], jobs: Sequence[Job], processes: int, path: Path, say: str) -> list[dict]:
    """The runs of ``jobs``; those that the file holds are not repeated.

    Args:
        train: one run, a function of a module; its result is JSON with the keys variant, seed and rate.
        jobs: the arguments of ``train``.
        processes: how many run at once.
        path: a .jsonl file, to which each finished run is added.
        say: a format of one line about a finished run, with its keys.
    """
    done = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    known = {key_of(run) for run in done}
    missing = [job for job in jobs if job not in known]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(train, *job) for job in missing]):
            run = future.result()
            done.append(run)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(run) + "\n")
            print(say.format(**run), flush=True)
    return [run for run in done if key_of(run) in set(jobs)]


def key_of(run: dict) -> Job:
    """The job of a run."""
    return run["variant"], run["seed"], run["rate"]


def ends(runs: Sequence[dict], variant: str, name: str, last: int, until: int | None = None) -> np.ndarray:
    """The mean of a metric over the last evaluations of each seed, in the order of the seeds.

    Args:
        runs: with a curve of evaluations under ``name`` and its steps under ``step``.
        variant: whose runs count.
        name: of the metric.
        last: number of evaluations.
        until: the step at which the run is taken to end; its own end by default.
    """
    chosen = sorted((run for run in runs if run["variant"] == variant), key=lambda run: run["seed"])
    curves = [
        [value for step, value in zip(run["step"], run[name], strict=True) if until is None or step <= until]
        for run in chosen
    ]
    return np.array([np.mean(curve[-last:]) for curve in curves])


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and the ends of its 95 % t-interval."""
    mean, half = values.mean(), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(mean), float(mean - half), float(mean + half)


def shown(values: np.ndarray) -> str:
    """Mean over seeds and its 95 % t-interval as text."""
    return "{:.3f} [{:.3f}, {:.3f}]".format(*interval(values))


def holm(values: Sequence[float]) -> list[float]:
    """P-values after Holm's correction, in the order given."""
    order = np.argsort(values)
    corrected, largest = [0.0] * len(values), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - place) * values[i]))
        corrected[i] = largest
    return corrected


def compared(differences: Sequence[np.ndarray]) -> list[tuple[str, float, str]]:
    """Of differences paired by seed, which form one family: interval, p-value after Holm's correction, verdict."""
    corrected = holm([float(stats.ttest_1samp(d, 0.0).pvalue) for d in differences])
    return [
        (shown(d), p, "inconclusive" if p >= 0.05 else "higher" if d.mean() > 0 else "lower")
        for d, p in zip(differences, corrected, strict=True)
    ]


def rate_table(
    runs: Sequence[dict], variants: Sequence[str], rates: Sequence[float], name: str, last: int
) -> tuple[dict[str, float], list[str]]:
    """The learning rate of each variant with the highest mean of a metric at the end, and a table of the means."""
    chosen = {}
    rows = ["| objective | " + " | ".join(f"{rate:.0e}" for rate in rates) + " |", "|---" * (len(rates) + 1) + "|"]
    for variant in variants:
        means = {rate: ends([run for run in runs if run["rate"] == rate], variant, name, last).mean() for rate in rates}
        chosen[variant] = max(means, key=lambda rate: means[rate])
        cells = (f"**{mean:.3f}**" if rate == chosen[variant] else f"{mean:.3f}" for rate, mean in means.items())
        rows.append(f"| {variant} | " + " | ".join(cells) + " |")
    return chosen, rows
