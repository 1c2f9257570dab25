"""Tiny configurations for the trainer's tests."""

from __future__ import annotations

from pathlib import Path

import fdiv_gym as fg
from fdiv_gym.runs.config import parse_config
from fdiv_gym.runs.folder import RunFolder

TINY_MODEL = {"layers": 1, "heads": 1, "head_dim": 32, "warm_start_steps": 30, "warm_start_batch": 32}


def tiny_config(**changes):
    """A configuration that trains in a second; `trainer__steps=3` sets trainer.steps."""
    values = {
        "seed": 0,
        "env": {"id": "math/Addition-v0", "digits": 1},
        "model": {"embedded": dict(TINY_MODEL)},
        "engine": {"max_new_tokens": 4},
        "objective": {"name": "f-grpo"},
        "trainer": {
            "steps": 4,
            "prompts_per_step": 4,
            "group_size": 4,
            "evaluate_tasks": 4,
            "evaluate_every": 2,
            "checkpoint_every": 2,
        },
    }
    for path, value in changes.items():
        table, _, key = path.partition("__")
        if key:
            values.setdefault(table, {})[key] = value
        else:
            values[table] = value
    return parse_config(values)


def train(config: fg.RunConfig, folder: Path, resume: bool = False) -> fg.RunResult:
    """Run a configuration in a folder."""
    if not resume:
        RunFolder.create(folder, config.resolved())
    return config.trainer.build().fit(config, folder, resume=resume)


def without_times(lines: list[dict]) -> list[dict]:
    """metrics.jsonl without the time fields."""
    return [{k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in lines]
