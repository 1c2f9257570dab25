"""Does GPRL's drift monitor notice an exploited dimension of the reward, and correct it? Trains, measures, plots.

    python benchmarks/gprl_loop.py [--seeds 10] [--processes 2]

The environment is safety/Zeal-v0: annotators like exclamation marks, the hidden true score does not. The judges are
preference models learnt from the annotators' pairs, one for each seed (general with k = 3, and Bradley-Terry), and an
exact one whose dimensions are the three qualities. Every method gets the same initial model, steps and rollouts. Its
learning rate is chosen on other seeds, after a quarter of the steps of the table. A finished run is kept in
benchmarks/results/gprl_loop.jsonl and not repeated; --fresh repeats all runs. The preference models stay in
runs/gprl_loop.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from gprl_loop_judge import DIMENSIONS, ExactJudge, SummedScore
from gprl_loop_report import LAST, LINE, RATES, STEPS, TUNED, TUNING_SEEDS, VARIANTS, plot, report
from seeded import rate_table, run_all

from fdiv_gym.runs import EVALUATIONS, RunFolder, parse_config

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MODELS = ROOT / "runs" / "gprl_loop"
FIRST_SEED = 10  # seed 0 was used while the task was made
PREFERENCE_STEPS = 200
PAIRS = 6000
"""Pairs that are drawn for a preference model; ties among them are left out."""
TEMPERATURES = "0.1,0.3,0.5,0.7,1"
VOTES = 16
EMBEDDED = {"layers": 2, "heads": 2, "context": 64}
GPRL = {"name": "gprl", "beta": 0.04}
OBJECTIVES = {
    "GPRL": GPRL,
    "GPRL, monitor": GPRL,
    "GDPO": {"name": "grpo", "beta": 0.04, "advantage": {"name": "gdpo", "weights": dict.fromkeys(DIMENSIONS, 1.0)}},
    "GRPO, summed score": {"name": "grpo", "beta": 0.04, "advantage": SummedScore},
    "GRPO, Bradley-Terry": GPRL,  # of one pinned dimension: GRPO on the logit
}


def configuration(variant: str, seed: int, rate: float) -> dict:
    """One run of the table or of the choice of the learning rate."""
    judge, method = variant.split(": ")
    steps = TUNED if seed in TUNING_SEEDS else STEPS
    kind = "pinned" if method == "GRPO, Bradley-Terry" else "general"
    learnt = {"name": "gpm", "model": str(model_folder(kind, seed)), "against": "anchors"}
    return {
        "seed": seed,
        "env": {"id": "safety/Zeal-v0", "judge": ExactJudge if judge == "exact" else learnt},
        "model": {"embedded": {**EMBEDDED, "warm_start_steps": 250, "warm_start_batch": 64}},
        "engine": {"name": "transformers", "max_new_tokens": 28},
        "objective": OBJECTIVES[method],
        "callbacks": [{"name": "drift-monitor"}] if method == "GPRL, monitor" else [],
        "trainer": {
            "name": "accelerate", "steps": steps, "prompts_per_step": 8, "group_size": 8, "learning_rate": rate,
            "warmup_steps": 5, "evaluate_every": 30 if steps == STEPS else 15, "evaluate_tasks": 64,
            "evaluate_samples": 2, "checkpoint_every": 0, "samples_per_step": 0, "check_plugins": False,
        },
    }  # fmt: skip


def train(variant: str, seed: int, rate: float) -> dict:
    """One run: its curves on held-out tasks, and what the monitor did."""
    with fitted(configuration(variant, seed, rate)) as run:
        lines = run.lines(EVALUATIONS)
        panels = json.loads((run.path / "panels.json").read_text())["panels"] if "monitor" in variant else []
    names = {"judge": "score/sampled", "true": "env/true_score", "kl": "divergence/kl"}
    names |= {name: f"env/{name}" for name in ("right", "plain", "marks")}
    curve = {short: [line.get(name) for line in lines] for short, name in {"step": "step", **names}.items()}
    found = {"variant": variant, "seed": seed, "rate": rate, **curve}
    for panel in panels:
        found["events"] = [row[:2] for row in panel["tables"][0]["rows"]]
        found["monitor"] = {one["title"]: one["series"] for one in panel["figures"]}
    return found


@contextlib.contextmanager
def fitted(values: dict) -> Iterator[RunFolder]:
    """The folder of a finished run, which is removed afterwards; one thread, no output."""
    torch.set_num_threads(1)
    config = parse_config(values)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as null:
        with contextlib.redirect_stdout(null):
            run = RunFolder.create(Path(folder) / "run", config.resolved())
            config.trainer.build().fit(config, run.path)
        yield run


def model_folder(kind: str, seed: int) -> Path:
    """Where the preference model of a seed is."""
    return MODELS / f"{kind}-{seed}"


def train_preference_model(kind: str, seed: int) -> dict:
    """Train a preference model on the pairs of a seed; what it reaches on held-out pairs."""
    import shutil

    import fdiv_gym as fg

    folder = model_folder(kind, seed)
    record = folder.with_suffix(".json")
    if record.exists():
        return json.loads(record.read_text())
    pairs = fg.get_environment("safety/Zeal-v0").preference_pairs(PAIRS, np.random.default_rng(seed))
    MODELS.mkdir(parents=True, exist_ok=True)
    data = MODELS / f"pairs-{seed}.jsonl"
    data.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    form = {"dimensions": 1, "pinned": True} if kind == "pinned" else {"dimensions": 3}
    values = {
        "seed": seed,
        "preferences": {"path": str(data), "pairs_per_step": 64, "heldout_fraction": 0.2},
        "model": {"embedded": {**EMBEDDED, "head_dim": 32, "warm_start_steps": 0}},
        "trainer": {"name": "preference-model", **form, "steps": PREFERENCE_STEPS, "warmup_steps": 30},
    }
    with fitted(values) as run:
        accuracy = run.lines(EVALUATIONS)[-1]["heldout/accuracy"]
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run.checkpoints()[-1] / "preference_model", folder)
    found = {"kind": kind, "seed": seed, "accuracy": accuracy}
    record.write_text(json.dumps(found))
    return found


def untrained() -> list[dict]:
    """The true score of the initial model on held-out tasks, greedy and by temperature, and by a majority vote."""
    from collections import Counter, defaultdict

    from fdiv_gym_safety.zeal import qualities

    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "untrained.toml")
        table = "\n".join(f"{name} = {value}" for name, value in EMBEDDED.items())
        config.write_text(
            f'[env]\nid = "safety/Zeal-v0"\n[engine]\nname = "transformers"\nmax_new_tokens = 28\n'
            f"[model.embedded]\n{table}\nwarm_start_steps = 250\nwarm_start_batch = 64\n"
        )
        command = [sys.executable, "-m", "fdiv_gym", "eval", "embedded", "--config", str(config), "--temperature"]
        command += [TEMPERATURES, "--samples", str(VOTES), "--output", f"{folder}/eval", "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows = []
        for part in sorted(Path(folder, "eval").iterdir()):
            if not part.is_dir():
                continue
            responses: dict[str, list[str]] = defaultdict(list)
            answers: dict[str, str] = {}
            for line in (part / "samples.jsonl").read_text().splitlines():
                sample = json.loads(line)
                responses[str(sample["prompt"])].append(sample["response"])
                answers[str(sample["prompt"])] = sample["answer"]
            each = [qualities(answers[p], text).true for p, texts in responses.items() for text in texts]
            votes = [qualities(answers[p], Counter(texts).most_common(1)[0][0]).true for p, texts in responses.items()]
            rows.append({"decoding": part.name, "true": float(np.mean(each)), "majority": float(np.mean(votes))})
        return rows


def main() -> None:
    """Train judges, tune, run, write gprl_loop.{jsonl,md,png}, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="discard finished runs")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "gprl_loop.jsonl"
    if arguments.fresh:
        path.unlink(missing_ok=True)
        for record in MODELS.glob("*.json"):
            record.unlink()
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.seeds)
    control = untrained()  # builds the embedded model, so that the processes do not all build it
    print(control, flush=True)
    kinds = [(kind, seed) for seed in (*TUNING_SEEDS, *seeds) for kind in ("general", "pinned")]
    with ProcessPoolExecutor(arguments.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        judges = list(pool.map(train_preference_model, *zip(*kinds, strict=True)))
    tuning = [(variant, seed, rate) for seed in TUNING_SEEDS for variant in VARIANTS for rate in RATES]
    tuned = run_all(train, tuning, arguments.processes, path, LINE)
    rates, rows = rate_table(tuned, VARIANTS, RATES, "true", LAST)
    jobs = [(variant, seed, rates[variant]) for seed in seeds for variant in VARIANTS]
    runs = run_all(train, jobs, arguments.processes, path, LINE)
    text = report(runs, rates, rows, judges, control)
    (RESULTS / "gprl_loop.md").write_text(text, encoding="utf-8")
    plot(runs, RESULTS / "gprl_loop.png")
    print(text)


if __name__ == "__main__":
    main()
