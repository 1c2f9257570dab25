"""Short runs with the tiny random model of fdiv_gym.testing, and what they noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fdiv_gym as fg
from fdiv_gym.runs import METRICS, SUMMARY, RunFolder
from fdiv_gym.testing.tiny import save_tiny_model


class Letters(fg.TextEnv):
    """Prompts of two letters; a response scores by its first letter, which a random model gets right often enough."""

    def tasks(self, split):
        return [fg.Task(prompt=a + b, answer="") for a in "abcdefghij" for b in ("kl" if split == "train" else "mn")]

    def score(self, task, response):
        return fg.Verdict.scored(float(response[:1] < "m"))


@dataclass
class Noticed:
    """The lines of metrics.jsonl, the summary, and the error that ended the run."""

    lines: list[dict[str, Any]]
    summary: dict[str, Any]
    error: str

    def at(self, name: str) -> list[int]:
        """The steps at which an event occurred."""
        return [line["step"] for line in self.lines for event in line.get("events", []) if event["name"] == name]

    def first(self, name: str) -> dict[str, Any]:
        """The first record of an event."""
        return next(e for line in self.lines for e in line.get("events", []) if e["name"] == name)

    @property
    def names(self) -> set[str]:
        """The events that occurred."""
        return {event["name"] for line in self.lines for event in line.get("events", [])}


def run(
    folder: Path,
    steps: int,
    env: Any = Letters,
    objective: Any = "rloo",
    callbacks: Any = (),
    resume: bool = False,
    accept_changes: bool = False,
    model: Mapping[str, Any] | None = None,
    engine: Any = "transformers",
    preferences: Mapping[str, Any] | None = None,
    **trainer: Any,
) -> Noticed:
    """A run of the tiny random model in ``folder / "run"``; its learning rate is constant from the first step.

    ``model`` adds options to the table [model].
    """
    initial = folder / "tiny"
    if not initial.exists():
        folder.mkdir(exist_ok=True)
        save_tiny_model(initial)
    options = {
        "steps": steps, "prompts_per_step": 4, "group_size": 4, "evaluate_tasks": 1, "evaluate_samples": 1,
        "evaluate_every": 0, "checkpoint_every": 0, "warmup_steps": 0, "learning_rate": 1e-4, "samples_per_step": 0,
    } | trainer  # fmt: skip
    config = {
        "env": env if isinstance(env, dict) else {"id": env},
        "model": {"name_or_path": str(initial), **(model or {})},
        "engine": {"name": engine, "max_new_tokens": 4},
        "objective": {"name": objective} if isinstance(objective, (str, type)) else objective,
        "trainer": options,
        "callbacks": [one if isinstance(one, dict) else {"name": one} for one in callbacks],
        **({} if preferences is None else {"preferences": preferences}),
    }
    output = folder / "run"
    error = ""
    try:
        fg.train(config, output, resume=resume, accept_changes=accept_changes)
    except fg.FdivGymError as failure:
        error = str(failure)
    return Noticed(RunFolder(output).lines(METRICS), RunFolder(output).read_json(SUMMARY), error)
