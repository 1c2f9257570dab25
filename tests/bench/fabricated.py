"""Records of a comparison that never ran: 3 objectives, 2 environments, 5 seeds, one failed cell, all controls."""

from __future__ import annotations

import hashlib

import numpy as np

from fdiv_gym.bench import parse_matrix
from fdiv_gym.bench.cells import id_of
from fdiv_gym.bench.record import Record

OBJECTIVES = ("f-GRPO pearson", "GRPO", "<b>RLOO</b> & co")
ENVIRONMENTS = ("addition", "countdown")
SEEDS = (11, 12, 13, 14, 15)
TASKS, SAMPLES = 6, 4
STEPS = (0, 10, 20)
GAIN = {"f-GRPO pearson": 0.40, "GRPO": 0.20, "<b>RLOO</b> & co": 0.21}
FAILED = ("GRPO", "countdown", 14)
RANGES = {"addition": (0.0, 1.0), "countdown": (-1.0, 1.0)}
DIVERGENCES = ("kl", "pearson")


def matrix(**changes):
    """The matrix of the records."""
    values = {
        "name": "three objectives",
        "base": {"trainer": {"prompts_per_step": 2, "group_size": 2}},
        "objectives": [{"label": label, "objective": {"name": "grpo"}} for label in OBJECTIVES],
        "environments": [
            {"label": "addition", "env": {"id": "math/Addition-v0"}},
            {"label": "countdown", "env": {"id": "math/Addition-v0", "digits": 3}},
        ],
        "seeds": list(SEEDS),
        "budget": {"steps": STEPS[-1]},
    }
    return parse_matrix(values | changes)


def key_of_name(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def scores_of(name: str, share: float, low: float, high: float) -> dict[str, list[float]]:
    """Scores of every task, ``low`` or ``high``, of which about ``share`` are high."""
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    good = np.random.RandomState(seed).random_sample((TASKS, SAMPLES)) < share
    return {f"{i}-task{i}": [high if x else low for x in row] for i, row in enumerate(good)}


def record(name, objective, environment, seed, kind="table", gain=None, updates=1):
    """A record whose score rises from 0.2 by ``gain``."""
    low, high = RANGES[environment]
    gain = GAIN[objective] if gain is None else gain
    tasks = scores_of(name, 0.2 + gain, low, high)
    final = float(np.mean([x for row in tasks.values() for x in row]))
    start = low + (0.2 + 0.001 * (seed - 13)) * (high - low)
    middle = start + 0.7 * (final - start)
    curve = {"step": list(STEPS), "score/sampled": [start, middle, final], "response_tokens": [5.0, 6.0, 7.0]}
    for i, divergence in enumerate(DIVERGENCES):
        curve[f"divergence/{divergence}"] = [0.0, 0.1 * (1 + gain) + 0.001 * seed, 0.3 * (i + 1) + 0.01 * seed]
    if environment == "countdown":
        curve["env/true_score"] = [0.2, 0.3 + 0.001 * seed, 0.25 - 0.002 * seed]
    values = {
        "key": key_of_name(name),
        "status": "done",
        "attempts": 1,
        "error": None,
        "objective": objective,
        "environment": environment,
        "model": "embedded",
        "seed": seed,
        "updates": updates,
        "rate": 1e-3 if objective == "GRPO" else 3e-4,
        "kind": kind,
        "budget": {"steps": 20, "tokens": 2000, "verifications": 80, "seconds": 10.0},
        "curve": curve,
        "final": {metric: column[-1] for metric, column in curve.items() if metric != "step"},
        "tasks": tasks,
        "events": {},
        "seconds": 11.0,
    }
    return Record.model_validate(values)


def failed(name, objective, environment, seed, error="Traceback:\nTrainerError: <script>alert(1)</script> & \\end"):
    """A record of a cell that failed."""
    values = record(name, objective, environment, seed).model_dump() | {
        "status": "failed", "attempts": 2, "error": error, "budget": None, "curve": {}, "final": None, "tasks": {},
        "seconds": None,
    }  # fmt: skip
    return Record.model_validate(values)


def table_records(seeds=SEEDS, fail=(FAILED,)):
    """The cells of the table by folder."""
    found = {}
    for objective in OBJECTIVES:
        for environment in ENVIRONMENTS:
            for seed in seeds:
                name = f"cells/{id_of(objective, environment, 'embedded', seed)}"
                make = failed if (objective, environment, seed) in fail else record
                found[name] = make(name, objective, environment, seed)
    return found


def control_records():
    """Random reward and the noise floor, of two seeds each."""
    found = {}
    for seed in SEEDS[:2]:
        name = f"controls/{id_of('GRPO', 'addition', 'embedded', seed, suffix='random-reward')}"
        found[name] = record(name, "GRPO", "addition", seed, "control", gain=0.0)
        original = f"cells/{id_of('GRPO', 'addition', 'embedded', seed)}"
        again = record(original, "GRPO", "addition", seed, "control")
        found[f"controls/{id_of('GRPO', 'addition', 'embedded', seed, suffix='again')}"] = again
    return found


def after_of(records):
    """``after.json`` of every done cell of the table."""
    found = {}
    for name, each in records.items():
        if each.kind != "table" or each.status != "done":
            continue
        responses = TASKS * SAMPLES
        random = np.random.RandomState(each.seed)
        found[name] = {
            "key": each.key,
            "tokens": [4 + (i + each.seed) % 3 for i in range(responses)],
            "log_ratio": [float(x) for x in random.normal(0.3, 0.5, responses)],
            "entropy": [None if i == 0 else 1.0 + 0.01 * i for i in range(responses)],
        }
    return found


UNTRAINED = [
    {
        "environment": environment,
        "model": "embedded",
        "rows": [
            {
                "temperature": temperature,
                "metrics": {
                    f"{metric}@{k}": {"value": value + 0.05 * i + 0.1 * (metric == "pass") * np.log2(k), "low": 0.1,
                                      "high": 0.9}
                    for metric, k in (("avg", 4), ("pass", 1), ("pass", 2), ("pass", 4), ("maj", 4))
                },
            }
            for i, (temperature, value) in enumerate((("greedy", 0.25), (0.5, 0.2), (1.0, 0.15)))
        ],
        "best": {"single": {"temperature": "greedy", "value": 0.25}, "majority": {"temperature": 1.0, "value": 0.25}},
    }
    for environment in ENVIRONMENTS
]  # fmt: skip

TUNING = {
    "method": "grid",
    "metric": "score/sampled",
    "values": {"trainer.learning_rate": [1e-4, 3e-4, 1e-3]},
    "trials": [
        {
            "objective": objective, "trial": trial, "options": {"trainer.learning_rate": rate},
            "environment": environment, "model": "embedded", "seed": 1, "cell": f"tuning/{i}{trial}{environment}",
            "value": None if (i, trial, environment) == (2, 0, "addition") else 0.1 * trial + 0.01 * i,
        }
        for i, objective in enumerate(OBJECTIVES)
        for trial, rate in enumerate((1e-4, 3e-4, 1e-3))
        for environment in ENVIRONMENTS
    ],
    "chosen": {objective: {"trainer.learning_rate": 1e-3} for objective in OBJECTIVES},
    "at_edge": {objective: ["trainer.learning_rate"] for objective in OBJECTIVES},
}  # fmt: skip
