"""A bench folder without training: planted responses to Addition tasks, scored by the environment's own verifier."""

from __future__ import annotations

import json
import random
from pathlib import Path

from bench_harness import small

import fdiv_gym as fg
from fdiv_gym.bench import Outcome, expand, parse_matrix
from fdiv_gym.bench.bundle import seal_bundle
from fdiv_gym.bench.bundle_derived import write_derived
from fdiv_gym.bench.bundle_files import Bundle, json_text, write_text
from fdiv_gym.bench.controls import control_cells, untrained_of
from fdiv_gym.bench.record import Record, write_record
from fdiv_gym.bench.run_file import toml_text
from fdiv_gym.bench.tuning import tune
from fdiv_gym.evaluation import rescore_samples
from fdiv_gym.evaluation.metrics import Sample, default_ks, mean_metrics, summarise, task_values
from fdiv_gym.evaluation.temperatures import best_of
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.runs.provenance import provenance_of

TASKS, SAMPLES, STEPS = 3, 2, 4
TUNING = {"seeds": [7], "values": {"trainer.learning_rate": [1e-4, 1e-3]}}
CONTROLS = {"temperatures": [1.0], "samples": 2}


def matrix_values(**changes):
    """The values of the small matrix with tuning and controls."""
    own = {"tuning": TUNING, "controls": CONTROLS, "budget": {"steps": STEPS}}
    return small(**{**own, "base__trainer": {"evaluate_every": STEPS // 2}, **changes})


def planted_bench(folder: Path, **changes) -> Path:
    """A finished bench of the small matrix."""
    folder.mkdir(parents=True)
    values = matrix_values(**changes)
    (folder / "matrix.toml").write_text(toml_text(values))
    matrix = parse_matrix(values)
    bench = {
        "fdiv_gym": "0.1.0", "command": ["fdiv-gym", "bench", "m.toml"], "python": "3.12.1",
        "versions": {"numpy": "2.1.0"}, "lock": {"numpy": "2.1.0", "torch": "2.5.1"},
        "hardware": {"cores": 2, "gpus": []}, "started": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    RunFolder(folder).write_json("bench.json", bench)
    env = fg.make("math/Addition-v0", digits=1)

    def run(cells):
        for cell in cells:
            write_planted(folder, cell, env)
        return Outcome(tuple(cell.id for cell in cells), (), False)

    chosen = tune(matrix, folder, run).chosen or {}
    table = expand(matrix, chosen=chosen)
    run([*table, *control_cells(matrix, chosen)])
    for cell in table:
        write_after(folder, cell)
    if matrix.controls.untrained:
        write_untrained(folder / "controls" / "untrained--addition--embedded", env, matrix)
    return folder


def planted_samples(env, mode, count, seed, *, skip=0, step=None, rate=0.5):
    """Samples of the first tasks, some of them right."""
    rng = random.Random(seed)
    found = []
    for index, task in enumerate(env.task_list("heldout")[skip : skip + TASKS]):
        for sample in range(count):
            text = task.answer if rng.random() < rate else str(rng.randrange(30, 99))
            messages = [*({"role": m.role, "content": m.content} for m in task.messages)]
            transcript = {
                "messages": [*messages, {"role": "assistant", "content": text}], "opening": len(messages),
                "rewards": [], "outcome": {}, "end": "done", "cut_off": False,
            }  # fmt: skip
            found.append({
                "step": step, "split": "heldout", "mode": mode, "index": index, "sample": sample,
                "task_hash": task.hash, "prompt": task.prompt, "answer": task.answer, "data": dict(task.data),
                "response": text, "transcript": transcript, "truncated": False, "vote": env.vote(task, text),
                "tokens": len(text) + 1, "turns": 1, "environment_tokens": 0, "logprob": -rng.random(),
                "stop_reason": "eos", "verdict": fg.Verdict(0.0).to_dict(),
            })  # fmt: skip
    for sample, verdict in zip(found, rescore_samples(env, found).verdicts, strict=True):
        sample["verdict"] = verdict.to_dict()
    return found


def write_lines(path: Path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_planted(folder: Path, cell, env):
    """The run folder and the record of a cell."""
    place, rate = folder / cell.folder, 0.75 if cell.objective == "grpo" or cell.rate == 1e-3 else 0.5
    skip = TASKS if cell.kind == "tuning" else 0
    counts = {"sampled": SAMPLES, "greedy": 1}
    samples = [
        line
        for mode, count in counts.items()
        for line in planted_samples(env, mode, count, f"{cell.id}{mode}", skip=skip, step=STEPS, rate=rate)
    ]
    write_lines(place / "run" / "samples.jsonl", [{**samples[0], "step": 1}, *samples])
    run = RunFolder(place / "run")
    run.write_json("config.json", cell.config.resolved())
    run.write_json("provenance.json", provenance_of(cell.config))
    final = mean_metrics(env, samples) | {"divergence/kl": 0.125}
    curve = {name: [0.25, 0.375, value] for name, value in final.items()}
    tasks = {}
    for line in samples:
        if line["mode"] == "sampled":
            tasks.setdefault(f"{line['index']}-{line['task_hash']}", []).append(line["verdict"]["score"])
    names = ("key", "kind", "objective", "environment", "model", "seed", "updates", "rate")
    write_record(place, Record(
        **{name: getattr(cell, name) for name in names}, status="done", attempts=1, error=None,
        budget={"steps": STEPS, "tokens": 20, "verifications": 4 * STEPS, "seconds": 1.0}, seconds=1.5,
        events={"clipped": {"policy": "skip", "count": 1, "first_step": 1, "last_step": 1}},
        curve={"step": [0, 2, STEPS], **curve}, final=final, tasks=tasks,
    ))  # fmt: skip


def write_after(folder: Path, cell):
    lines = RunFolder(folder / cell.folder / "run").lines("samples.jsonl")[1:]
    tokens = [line["tokens"] for line in lines if line["mode"] == "sampled"]
    after = {"key": cell.key, "tokens": tokens, "log_ratio": [0.125] * len(tokens), "entropy": [0.5] * len(tokens)}
    RunFolder(folder / cell.folder).write_json("after.json", after)


def write_untrained(place: Path, env, matrix):
    rows = []
    for temperature in (0.0, *matrix.controls.temperatures):
        mode, count = ("greedy", 1) if temperature == 0.0 else ("sampled", matrix.controls.samples)
        name = "greedy" if temperature == 0.0 else f"temperature-{temperature:g}"
        samples = planted_samples(env, mode, count, f"untrained{temperature}")
        write_lines(place / name / "samples.jsonl", samples)
        groups = [[Sample(s["verdict"]["score"], s["vote"]) for s in samples if s["index"] == i] for i in range(TASKS)]
        values = task_values(groups, [1] if mode == "greedy" else default_ks(count), 1.0, 0.0)
        metrics = {metric: summarise(column, matrix.seeds[0]).to_dict() for metric, column in values.items()}
        rows.append({"temperature": temperature, "metrics": metrics})
    found = {"key": "0123456789", "environment": "addition", "model": "embedded"}
    RunFolder(place).write_json("untrained.json", found | untrained_of({"evaluations": rows, "best": best_of(rows)}))


# ---- alterations ------------------------------------------------------------------------------------


def read_values(bundle: Path, name: str):
    """The JSON of a file of a bundle: an object, or the list of the lines."""
    own = Bundle(bundle)
    return own.lines(name) if ".jsonl" in name else own.json(name)


def write_values(bundle: Path, name: str, values):
    """Write what ``read_values`` read."""
    text = "".join(json.dumps(line) + "\n" for line in values) if ".jsonl" in name else json_text(values)
    write_text(bundle, name, text)


def reseal(bundle: Path, *, derived: bool = False):
    """Correct the manifest; with ``derived``, make tables and report again from the altered files, where that goes."""
    left_out = Bundle(bundle).json("manifest.json")["left_out"]
    if derived:
        write_derived(bundle, {"addition": (0.0, 1.0)})
    seal_bundle(bundle, left_out)
