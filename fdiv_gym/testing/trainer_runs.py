"""The runs of the conformance kit for trainers: a tiny model, an environment, a callback and a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fdiv_gym.envs.base import Split
from fdiv_gym.envs.text import TextEnv
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.entry import Entry
from fdiv_gym.rollouts.engine import Engine
from fdiv_gym.runs.callback import EVENTS, Callback
from fdiv_gym.runs.config import RunConfig, parse_config
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.runs.result import RunResult
from fdiv_gym.runs.trainer import Trainer
from fdiv_gym.testing.tiny import save_tiny_model
from fdiv_gym.testing.trainer_logps import RECORDER, Recorder
from fdiv_gym.testing.trainer_rows import SPY, Spy, keep
from fdiv_gym.types.task import Task
from fdiv_gym.types.trajectory import TrajectoryGroup
from fdiv_gym.types.verdict import Verdict

KIT = "fdiv-gym:testing"
OBJECTIVE = {"name": "f-grpo", "beta": 1.0}
ENVIRONMENT, PATCHY = "conformance/Letters-v0", "conformance/Patchy-v0"
WITNESS_NAME = "conformance-witness"
WITNESS_METRIC = "witness/step"
SHIFTED = "conformance-shifted"
VOWELS = "aeiou"
STEPS = 4

#: Settings of the kit's runs; each is used where the trainer has an option of that name.
SMALL = {
    "steps": STEPS, "prompts_per_step": 4, "group_size": 8, "learning_rate": 0.01, "warmup_steps": 0,
    "evaluate_tasks": 2, "evaluate_samples": 1, "evaluate_every": 2, "checkpoint_every": 2, "keep_checkpoints": 9,
    "events": {"wrong_sign": "ignore"},  # to measure it, prepare and loss are evaluated beside the updates
}  # fmt: skip


class Letters(TextEnv):
    """The score is the share of vowels; a random model improves in one step."""

    has_reference_response = False

    def tasks(self, split: Split) -> Sequence[Task]:
        """A few short prompts."""
        words = ("ab", "cd", "ef", "gh", "ij", "kl") if split == "train" else ("mn", "op")
        return [Task(word) for word in words]

    def score(self, task: Task, response: str) -> Verdict:
        """The share of vowels."""
        return Verdict.scored(sum(c in VOWELS for c in response) / max(len(response), 1))


class Patchy(Letters):
    """The same, without a score for about a fifth of the responses."""

    def score(self, task: Task, response: str) -> Verdict:
        """The share of vowels, or no score."""
        if sum(map(ord, response)) % 5 == 0:
            return Verdict.unscorable("left out by the conformance kit")
        return super().score(task, response)


class Witness(Callback):
    """Records its calls, and stops the run at a given step."""

    fatal = True
    calls: list[tuple[str, int]] = []  # noqa: RUF012 - emptied before each run
    stop_before: int = 0

    def before_rollouts(self, step: int) -> None:
        """Stop here, like a crash."""
        Witness.calls.append(("before_rollouts", step))
        if step == Witness.stop_before:
            raise KeyError("the conformance kit stops the run here")

    def after_verdicts(self, step: int, groups: Sequence[TrajectoryGroup]) -> None:
        """Keep the trajectories."""
        Witness.calls.append(("after_verdicts", step))
        keep(step, groups)

    def metrics(self) -> Mapping[str, float]:
        """The step of the last event."""
        return {WITNESS_METRIC: float(Witness.calls[-1][1])} if Witness.calls else {}


def _noting(event: str) -> Any:
    def note(self: Callback, first: Any, *rest: Any) -> None:
        Witness.calls.append((event, first if isinstance(first, int) else first.steps))

    return note


for _moment in EVENTS:
    if _moment not in ("before_rollouts", "after_verdicts"):
        setattr(Witness, _moment, _noting(_moment))


@contextmanager
def configuration(
    trainer: Trainer, place: Path, engine: Mapping[str, Any] | None, objective: Mapping[str, Any] = OBJECTIVE,
    engine_class: type[Engine] | None = None, **settings: Any,
) -> Iterator[RunConfig]:  # fmt: skip
    """A run of the trainer's class and options on a tiny model in ``place``, with the kit's plugins registered.

    Args:
        trainer: an instance.
        place: an empty folder.
        engine: the table [engine]; the default engine if None.
        objective: the table [objective].
        engine_class: registered as ``SHIFTED``.
        settings: options of the trainer in place of ``SMALL``, used where it has an option of that name; None leaves
            one at its default.
    """
    name = "conformance-trainer"
    options = {k: v for k, v in trainer.options.model_dump(mode="json").items() if v is not None}
    small = {k: v for k, v in (SMALL | settings).items() if k in type(trainer).Options.model_fields}
    options = {k: v for k, v in (options | small).items() if v is not None}
    model = save_tiny_model(place / "model")
    with discovery.registry.scoped() as registry:
        registry.add(Entry("trainer", name, type(trainer), KIT))
        registry.add(Entry("environment", ENVIRONMENT, Letters, KIT))
        registry.add(Entry("callback", WITNESS_NAME, Witness, KIT))
        registry.add(Entry("environment", PATCHY, Patchy, KIT))
        registry.add(Entry("objective", RECORDER, Recorder, KIT))
        registry.add(Entry("objective", SPY, Spy, KIT))
        if engine_class is not None:
            registry.add(Entry("engine", SHIFTED, engine_class, KIT))
        known = type(trainer).__dict__.get("_registered_name")
        try:
            yield parse_config(
                {
                    "env": {"id": PATCHY if objective.get("name") == SPY else ENVIRONMENT},
                    "model": {"name_or_path": str(model)},
                    "engine": {"max_new_tokens": 6, **(engine or {})},
                    "objective": dict(objective),
                    "trainer": {"name": name, **options},
                    "callbacks": [{"name": WITNESS_NAME}],
                }
            )
        finally:
            if known is not None:
                type(trainer)._registered_name = known  # type: ignore[attr-defined]


def fit(trainer: Trainer, config: RunConfig, folder: Path) -> RunResult:
    """Create the run folder and train."""
    Witness.calls.clear()
    RunFolder.create(folder, config.resolved())
    return trainer.fit(config, folder)


def loaded(folder: Path) -> tuple[Any, Any]:
    """Model in fp32 and tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    finally:
        if shown:
            logging.enable_progress_bar()
    return model, tokenizer
