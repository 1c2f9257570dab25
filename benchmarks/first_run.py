"""The first run, three seeds: `fdiv-gym train examples/addition.toml`, warm start included, and its control.

    python benchmarks/first_run.py [SEED ...]

The control is what the untrained model reaches by a lower temperature or by a majority vote.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "first_run.md"
PICTURE = ROOT / "docs" / "img" / "first_run.svg"
TEMPERATURES = "0.1,0.3,0.5,0.7,1"
VOTES = 64
TASKS = 256
"""Held-out tasks: those that the run itself evaluates."""


def run(seed: int) -> dict[str, Any]:
    """Train from an empty cache; seconds include start-up and the warm start. Then evaluate the untrained model."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FDIV_GYM_CACHE": f"{folder}/cache"}
        begun, spent = time.monotonic(), processor_seconds()
        command("train", "examples/addition.toml", "--output", f"{folder}/run", "--set", f"seed={seed}", **environment)
        seconds = {"wall": time.monotonic() - begun, "cpu": processor_seconds() - spent}
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
        lines = Path(folder, "run", "evaluations.jsonl").read_text().splitlines()
        control = command(
            "eval", f"{folder}/run", "--step", "0", "--temperature", TEMPERATURES, "--samples", str(VOTES),
            "--tasks", str(TASKS), "--seed", str(seed), "--json", **environment,
        )  # fmt: skip
        return {
            "seed": seed, **seconds, "evaluations": [json.loads(line) for line in lines],
            "control": json.loads(control), **summary,
        }  # fmt: skip


def command(*arguments: str, **environment: str) -> str:
    """The output of a command of fdiv-gym."""
    done = subprocess.run(
        [sys.executable, "-m", "fdiv_gym", *arguments], check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )
    return done.stdout.decode()


def processor_seconds() -> float:
    """Processor time of all finished subprocesses so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def draw(results: list[dict[str, Any]]) -> None:
    """The curves of all seeds in one picture, the one in the README."""
    plt.rcParams["svg.hashsalt"] = "fdiv-gym"
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, mode in zip(figure.subplots(1, 2, sharey=True), ("greedy", "sampled"), strict=True):
        for result in results:
            steps = [line["step"] for line in result["evaluations"]]
            scores = [line[f"score/{mode}"] for line in result["evaluations"]]
            axes.plot(steps, scores, marker="o", markersize=3, label=f"seed {result['seed']}")
        best = max(result["control"]["best"]["any"]["value"] for result in results)
        axes.axhline(best, color="black", linestyle="--", linewidth=1, label="untrained, best temperature or majority")
        axes.set_title(f"{mode} accuracy, held-out tasks", fontsize=10)
        axes.set_xlabel("f-GRPO step (Pearson, beta 0.1)")
        axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(PICTURE, metadata={"Date": None})


def table(results: list[dict[str, Any]]) -> list[str]:
    """One row for each seed: before, after, and the gain beyond what the untrained model reaches."""
    lines = [
        "| seed | greedy before | after | sampled before | after | untrained, best temperature | by majority | gain of "
        "greedy beyond both | wall-clock s | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        before, after, best = result["before"], result["after"], result["control"]["best"]
        cells = [
            *(f"{line[f'score/{mode}']:.3f}" for mode in ("greedy", "sampled") for line in (before, after)),
            *(f"{best[kind]['value']:.3f} ({shown(best[kind])})" for kind in ("single", "majority")),
            f"{after['score/greedy'] - best['any']['value']:+.3f}",
            f"{result['wall']:.0f}", f"{result['cpu']:.0f}",
        ]  # fmt: skip
        lines.append(f"| {result['seed']} | {' | '.join(cells)} |")
    return lines


def control_table(results: list[dict[str, Any]]) -> list[str]:
    """What the untrained model reaches at each temperature, with other draws for each seed."""
    rows = results[0]["control"]["evaluations"]
    lines = [
        "| seed | untrained model | " + " | ".join(map(shown, rows)) + " |",
        "|---|---" + "|---" * len(rows) + "|",
    ]
    for result in results:
        for what, metric in (("mean of one response", "avg"), (f"majority of {VOTES}", "maj")):
            cells = []
            for row in result["control"]["evaluations"]:
                found = row["metrics"].get(f"{metric}@{row['samples']}")
                cells.append("-" if found is None else f"{found['value']:.3f}")
            lines.append(f"| {result['seed']} | {what} | {' | '.join(cells)} |")
    return lines


def shown(row: dict[str, Any]) -> str:
    """A temperature as text."""
    return "greedy" if row["temperature"] == 0 else f"{row['temperature']:g}"


def main() -> None:
    """Run the seeds one after the other and write the tables and the picture."""
    seeds = [int(s) for s in sys.argv[1:]] or [0, 1, 2]
    results = []
    for seed in seeds:
        results.append(run(seed))
        print(table(results)[-1], flush=True)
    lines = [
        "# The first run",
        "",
        "`python benchmarks/first_run.py`: two CPU cores, empty cache, warm start included. Greedy and sampled "
        f"(temperature 1) accuracy on {TASKS} held-out tasks, before and after training. The initial model is the same "
        "for all seeds. A demonstration of its warm start is added without carrying with probability 0.6.",
        "",
        *table(results),
        "",
        f"The untrained model on the same tasks (`fdiv-gym eval RUN --step 0 --temperature {TEMPERATURES} "
        f"--samples {VOTES} --tasks {TASKS}`, with the seed of the run):",
        "",
        *control_table(results),
    ]
    RESULT.write_text("\n".join(lines) + "\n")
    draw(results)


if __name__ == "__main__":
    main()
