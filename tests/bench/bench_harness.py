"""A small matrix of real runs: the embedded model with one layer, two steps of warm start, two steps of training."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import fdiv_gym as fg
from fdiv_gym.bench import Outcome, Record, expand, parse_matrix
from fdiv_gym.bench.record import write_record
from fdiv_gym.bench.recording import failed_record

GRPO = {"label": "grpo", "objective": {"name": "grpo"}}
VALUES = {
    "name": "small",
    "base": {
        "engine": {"max_new_tokens": 4},
        "model": {
            "embedded": {"layers": 1, "heads": 1, "head_dim": 32, "warm_start_steps": 2, "warm_start_batch": 8},
        },
        "trainer": {
            "prompts_per_step": 2,
            "group_size": 2,
            "evaluate_tasks": 3,
            "evaluate_samples": 2,
            "evaluate_every": 1,
            "checkpoint_every": 1,
        },
    },
    "objectives": [
        {"label": "f-GRPO pearson", "objective": {"name": "f-grpo", "divergence": "pearson"}},
        {"label": "grpo", "objective": {"name": "grpo"}},
    ],
    "environments": [{"label": "addition", "env": {"id": "math/Addition-v0", "digits": 1}}],
    "seeds": [0, 1],
    "budget": {"steps": 2},
}


def small(**changes):
    """The matrix with some keys replaced; ``base__trainer`` updates a table of the base."""
    values = copy.deepcopy(VALUES)
    for name, value in changes.items():
        table, _, inner = name.partition("__")
        if inner:
            values[table][inner] = {**values[table].get(inner, {}), **value}
        elif value is None:
            values.pop(name, None)
        else:
            values[name] = value
    return values


def cells_of(**changes):
    """The cells of that matrix."""
    return expand(parse_matrix(small(**changes)))


def files(folder: Path) -> set[str]:
    """The names of the files of a folder."""
    return {path.name for path in folder.iterdir()}


def write_done(folder: Path, cell, score: float | None) -> None:
    """The record of a cell that reached a score; of one that failed for None."""
    if score is None:
        (folder / cell.folder).mkdir(parents=True, exist_ok=True)
        write_record(folder / cell.folder, failed_record(cell, 2, "planted"))
        return
    names = ("key", "kind", "objective", "environment", "model", "seed", "updates", "rate")
    record = Record(
        **{name: getattr(cell, name) for name in names}, status="done", attempts=1, error=None,
        budget={"steps": 2, "tokens": 8, "verifications": 8, "seconds": 1.0}, seconds=1.5, events={},
        curve={"step": [0, 2], "score/sampled": [0.25, score]}, final={"score/sampled": score}, tasks={"0-a": [score]},
    )  # fmt: skip
    run = folder / cell.folder / "run"
    run.mkdir(parents=True, exist_ok=True)
    sample = {
        "step": 2, "split": "heldout", "mode": "sampled", "index": 0, "sample": 0, "task_hash": "a", "prompt": "1+1",
        "answer": "2", "data": {}, "response": "2", "truncated": False, "vote": "2", "tokens": 2, "turns": 1,
        "environment_tokens": 0, "logprob": -0.5, "stop_reason": "eos", "verdict": fg.Verdict(score).to_dict(),
        "transcript": {
            "messages": [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}], "opening": 1,
            "rewards": [], "outcome": {}, "end": "done", "cut_off": False,
        },
    }  # fmt: skip
    (run / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    write_record(folder / cell.folder, record)


class Planted:
    """In place of an executor: cells reach 0.5, but those of the higher rate 0.75.

    ``stop_before`` interrupts it before that cell, and the cells of ``failing`` fail.
    """

    def __init__(self):
        self.stop_before, self.failing = "", ()
        self.calls, self.run = [], []

    def __call__(self, cells, folder, limits, *, rerun, retry_failed, report):
        self.calls.append(([cell.kind for cell in cells], limits, rerun, retry_failed))
        done, failed = [], []
        for cell in cells:
            place = folder / cell.folder / "record.json"
            if not place.exists() or (retry_failed and json.loads(place.read_text())["status"] == "failed"):
                if cell.id == self.stop_before:
                    return Outcome(tuple(done), tuple(failed), True)
                self.run.append(cell.id)
                score = None if cell.id in self.failing else 0.75 if cell.rate == 1e-3 else 0.5
                write_done(folder, cell, score)
            (done if json.loads(place.read_text())["status"] == "done" else failed).append(cell.id)
        report(f"{len(done)} done")
        return Outcome(tuple(done), tuple(failed), False)
