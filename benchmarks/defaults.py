"""Measures two defaults: the weighting of f-grpo and the link of kl.

    python benchmarks/defaults.py [--processes 2]

Every variant trains `examples/addition.toml` for 40 steps; later all of them are close to 1. Its learning
rate is chosen first, from three, on seeds 50 and 51; then it is trained on seeds 100 to 109. A seed decides
the order of the tasks and every draw, so that variants are compared in pairs of one seed. The initial model is
the same for all. A finished run is kept in benchmarks/results/defaults.jsonl and not
repeated while its configuration stays the same.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
VARIANTS = {
    "pearson, uniform": ["objective.weighting=uniform"],
    "pearson, softmax": ["objective.weighting=softmax"],
    "pearson, length_normalised": ["objective.weighting=length_normalised"],
    "kl, link fgan": ["objective.divergence=kl", "objective.link=fgan"],
    "kl, link calibrated": ["objective.divergence=kl", "objective.link=calibrated"],
}
BASELINES = {
    "pearson, softmax": "pearson, uniform",
    "pearson, length_normalised": "pearson, uniform",
    "kl, link calibrated": "kl, link fgan",
}
RATES = (1e-4, 3e-4, 1e-3)
CHOOSING_SEEDS = (50, 51)
SEEDS = tuple(range(100, 110))
MODES = ("greedy", "sampled")


@dataclass(frozen=True)
class Job:
    """One training run."""

    variant: str
    rate: float
    seed: int
    steps: int
    overrides: tuple[str, ...]

    def config(self) -> Any:
        """Its configuration: evaluations before and after training only."""
        from fdiv_gym.runs import load_config

        return load_config(
            ROOT / "examples" / "addition.toml",
            [
                f"seed={self.seed}", f"trainer.steps={self.steps}",
                f"trainer.learning_rate={self.rate}", "trainer.evaluate_every=0", "trainer.checkpoint_every=0",
                *VARIANTS[self.variant], *self.overrides,
            ],
        )  # fmt: skip

    def key(self) -> str:
        """A hash of the configuration."""
        return hashlib.sha256(json.dumps(self.config().resolved(), sort_keys=True).encode()).hexdigest()[:16]


def warm(job: Job) -> Job:
    """Build the initial model, unless it is in the cache."""
    import torch

    from fdiv_gym.models import EnvDemonstrations, embedded_model_folder

    torch.set_num_threads(1)
    config = job.config()
    embedded_model_folder(config.model.embedded, EnvDemonstrations(config.env.build()))
    return job


def train(job: Job) -> dict[str, Any]:
    """One run: greedy and sampled accuracy on held-out tasks, before and after."""
    import torch

    from fdiv_gym.runs import RunFolder

    torch.set_num_threads(1)
    config = job.config()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
        run = RunFolder.create(Path(folder) / "run", config.resolved())
        summary = config.trainer.build().fit(config, run.path).summary
    scores = {f"{mode} {when}": summary[when][f"score/{mode}"] for mode in MODES for when in ("before", "after")}
    return {"key": job.key(), "variant": job.variant, "rate": job.rate, "seed": job.seed, **scores}


class Results:
    """The finished runs, kept in a file.

    Args:
        path: a file of JSON lines; it is made if it is missing.
        processes: runs at a time.
    """

    def __init__(self, path: Path, processes: int) -> None:
        self.path, self.processes = path, processes
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.runs = {run["key"]: run for run in map(json.loads, lines)}

    def of(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """The runs of these jobs, in their order; the missing ones are trained now."""
        missing = [job for job in jobs if job.key() not in self.runs]
        for _ in self._parallel(warm, missing[:1]):
            pass
        for number, run in enumerate(self._parallel(train, missing), 1):
            self.runs[run["key"]] = run
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(run) + "\n")
            after = ", ".join(f"{mode} {run[f'{mode} after']:.3f}" for mode in MODES)
            print(f"{number}/{len(missing)} {run['variant']}, {run['rate']:g}, seed {run['seed']}: {after}", flush=True)
        return [self.runs[job.key()] for job in jobs]

    def _parallel(self, work: Callable[[Job], Any], jobs: Iterable[Job]) -> Iterable[Any]:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.processes, mp_context=context) as pool:
            for future in as_completed([pool.submit(work, job) for job in jobs]):
                yield future.result()


def best_rate(runs: Sequence[dict[str, Any]]) -> float:
    """The learning rate with the highest mean sampled accuracy after training; of equal ones the smallest."""
    means = {
        rate: np.mean([run["sampled after"] for run in runs if run["rate"] == rate])
        for rate in sorted({run["rate"] for run in runs})
    }
    return max(means, key=lambda rate: means[rate])


def interval(values: Sequence[float]) -> str:
    """The mean and its 95 % t-interval, as text; the mean alone if there is one value."""
    numbers = np.asarray(values, dtype=float)
    if len(numbers) < 2:
        return f"{numbers.mean():.3f}"
    half = stats.t.ppf(0.975, len(numbers) - 1) * numbers.std(ddof=1) / np.sqrt(len(numbers))
    return f"{numbers.mean():.3f} [{numbers.mean() - half:.3f}, {numbers.mean() + half:.3f}]"


def difference(runs: dict[str, list[dict[str, Any]]], variant: str, column: str) -> str:
    """The mean difference to the baseline of a variant, in pairs of one seed; ``-`` for a baseline."""
    if variant not in BASELINES:
        return "-"
    pairs = zip(runs[variant], runs[BASELINES[variant]], strict=True)
    return interval([own[column] - base[column] for own, base in pairs])


def table(runs: dict[str, list[dict[str, Any]]], rates: dict[str, float]) -> list[str]:
    """Accuracy after training and the differences to the default."""
    rows = [
        "| variant | learning rate | greedy after | difference | sampled after | difference |",
        "|---|---|---|---|---|---|",
    ]
    for variant in VARIANTS:
        cells = [f"{rates[variant]:g}"]
        for mode in MODES:
            column = f"{mode} after"
            cells += [interval([run[column] for run in runs[variant]]), difference(runs, variant, column)]
        rows.append(f"| {variant} | {' | '.join(cells)} |")
    return rows


def rates_table(choosing: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The runs from which the learning rates were chosen."""
    rates = sorted({run["rate"] for runs in choosing.values() for run in runs})
    rows = [
        "| variant | " + " | ".join(f"{rate:g}" for rate in rates) + " |",
        "|---" * (len(rates) + 1) + "|",
    ]
    for variant, runs in choosing.items():
        cells = [
            " / ".join(
                f"{np.mean([run[f'{mode} after'] for run in runs if run['rate'] == rate]):.3f}" for mode in MODES
            )
            for rate in rates
        ]
        rows.append(f"| {variant} | {' | '.join(cells)} |")
    return rows


def page(choosing: dict[str, list[dict[str, Any]]], runs: dict[str, list[dict[str, Any]]], job: Job) -> list[str]:
    """The whole result as markdown."""
    rates = {variant: best_rate(found) for variant, found in choosing.items()}
    before = {mode: [run[f"{mode} before"] for run in runs["pearson, uniform"]] for mode in MODES}
    seeds = [run["seed"] for run in runs["pearson, uniform"]]
    lowest, highest = min(RATES), max(RATES)
    at_the_edge = [variant for variant, rate in rates.items() if rate in (lowest, highest)]
    return [
        "# Two defaults of f-grpo",
        "",
        f"`python benchmarks/defaults.py`: `examples/addition.toml`, {job.steps} steps, {len(seeds)} seeds "
        f"({seeds[0]} to {seeds[-1]}), all from one initial model. Before training: greedy "
        f"{interval(before['greedy'])}, sampled {interval(before['sampled'])}. Brackets are 95 % t-intervals over "
        "seeds. Differences are to the default of the same divergence, in pairs of one seed; the intervals are not "
        "corrected for the number of comparisons.",
        "",
        *table(runs, rates),
        "",
        "Each learning rate was chosen on other seeds, by the highest mean sampled accuracy. Greedy / sampled accuracy "
        f"there, mean over seeds {', '.join(map(str, sorted({r['seed'] for r in choosing['pearson, uniform']})))}:",
        "",
        *rates_table(choosing),
        "",
        "At the edge of the grid, so that a rate outside may be better: " + ("; ".join(at_the_edge) or "none") + ".",
    ]


def main() -> None:
    """Choose the learning rates, run every variant and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--choosing-seeds", type=int, nargs="+", default=list(CHOOSING_SEEDS))
    parser.add_argument("--set", action="append", default=[], help="override a key of the configuration (repeatable)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of defaults.jsonl and defaults.md")
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "FDIV_GYM_QUIET": "1"}
    arguments.results.mkdir(parents=True, exist_ok=True)
    results = Results(arguments.results / "defaults.jsonl", arguments.processes)

    def job(variant: str, rate: float, seed: int) -> Job:
        return Job(variant, rate, seed, arguments.steps, tuple(arguments.set))

    found = results.of([job(v, rate, seed) for seed in arguments.choosing_seeds for v in VARIANTS for rate in RATES])
    choosing = {v: [run for run in found if run["variant"] == v] for v in VARIANTS}
    rates = {v: best_rate(choosing[v]) for v in VARIANTS}
    found = results.of([job(v, rates[v], seed) for seed in arguments.seeds for v in VARIANTS])
    runs = {v: [run for run in found if run["variant"] == v] for v in VARIANTS}
    lines = page(choosing, runs, job(next(iter(VARIANTS)), RATES[0], 0))
    (arguments.results / "defaults.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
