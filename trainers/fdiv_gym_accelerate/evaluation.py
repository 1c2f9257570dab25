"""Evaluation of a run: the held-out tasks, split over the processes, and the drift from the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object

import fdiv_gym as fg
from fdiv_gym.data import PreferenceRow
from fdiv_gym.evaluation import Mode, mean_metrics, play_tasks, sample_records
from fdiv_gym.models import ChatEncoder
from fdiv_gym.registry import sampling_of
from fdiv_gym.rollouts import TimeoutLedger, derive_seed
from fdiv_gym_accelerate import drift
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.update import Updater

MODES: tuple[Mode, ...] = ("sampled", "greedy")


@dataclass(frozen=True)
class Evaluator:
    """The evaluations of a run.

    Args:
        accelerator: splits the work over the processes.
        engine: generates the responses.
        encoder: the policy's tokenizer.
        updater: holds policy and reference.
        env: environment of the held-out tasks; None in a run on preferences only.
        heldout: held-out preference units; their log-ratios are measured.
        settings: how many tasks and samples.
        seed: of the run; the same draws at every evaluation make them comparable.
        pad_token: fills up rows of tokens.
        ledger: the pairs that timed out.
    """

    accelerator: Accelerator
    engine: fg.Engine
    encoder: ChatEncoder
    updater: Updater
    env: fg.Environment | None
    heldout: Sequence[Sequence[PreferenceRow]]
    settings: TrainerOptions
    seed: int
    pad_token: int
    ledger: TimeoutLedger

    def evaluate(self, step: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Play every held-out task ``evaluate_samples`` times sampled and once greedily, and measure the drift.

        Returns:
            The line of evaluations.jsonl without its step, empty where there is nothing to measure, and
            the sample records of all processes.

        Raises:
            EngineError: the engine failed.
            EnvError: the environment broke its contract.
            PluginError: the environment's code failed.
        """
        line: dict[str, float] = {}
        samples: list[dict[str, Any]] = []
        groups: list[fg.TrajectoryGroup] = []
        if self.env is not None:
            groups, samples = self._play(self.env, step)
            line = mean_metrics(self.env, samples)
        return line | self._drift(groups), samples

    def _play(self, env: fg.Environment, step: int) -> tuple[list[fg.TrajectoryGroup], list[dict[str, Any]]]:
        """This process's sampled groups, and the records of all processes."""
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        tasks = evaluated_tasks(env, self.settings)
        own = range(process, len(tasks), processes)
        with self.accelerator.autocast():
            played = {
                mode: play_tasks(
                    env, self.engine, self.encoder, tasks, own,
                    self.settings.evaluate_samples if mode == "sampled" else 1,
                    derive_seed(self.seed, "evaluation", mode, process),
                    split="heldout", mode=mode, step=step, ledger=self.ledger,
                )
                for mode in MODES
            }  # fmt: skip
        everything: list[dict[str, Any]] = gather_object([r for mode in MODES for r in played[mode].samples])
        return played["sampled"].groups, everything

    def _drift(self, groups: Sequence[fg.TrajectoryGroup]) -> dict[str, float]:
        """Log-ratios on held-out preferences, and every divergence from the reference on held-out prompts."""
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        stream = drift.sampled_groups(groups, self.pad_token)
        reference = self.updater.reference
        if self.env is None and reference is not None and reference.any_rows:
            sampling = sampling_of(self.engine, derive_seed(self.seed, "drift", process))
            with self.accelerator.autocast():
                stream = drift.sampled_prompts(
                    self.engine, self.heldout[process::processes], self.settings.evaluate_samples, sampling,
                    self.pad_token,
                )  # fmt: skip
        line = drift.preference_drift(self.updater, self.heldout, self.pad_token, process, processes)
        return line | drift.divergences(self.updater, stream)

    def training_samples(self, step: int, groups: Sequence[fg.TrajectoryGroup] | None) -> list[dict[str, Any]]:
        """Records of the first ``samples_per_step`` responses that this process drew for a training step."""
        if self.env is None or not groups:
            return []
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        indices = range(process, process + processes * len(groups), processes)
        records = sample_records(self.env, groups, indices, split="train", mode="sampled", step=step)
        return list(islice(records, self.settings.samples_per_step))


def evaluated_tasks(env: fg.Environment, settings: TrainerOptions) -> Sequence[fg.Task]:
    """The held-out tasks of the evaluations.

    Raises:
        ConfigError: ``evaluate_skip`` leaves none.
    """
    tasks, skip = env.task_list("heldout"), settings.evaluate_skip
    if skip >= len(tasks):
        raise fg.ConfigError(
            f"trainer.evaluate_skip = {skip} leaves none of the {len(tasks)} held-out tasks to evaluate: lower it, or "
            "give the environment more held-out tasks"
        )
    return tasks[skip : skip + settings.evaluate_tasks]


def before_and_after(evaluations: Sequence[Mapping[str, Any]], step: int) -> dict[str, dict[str, Any]]:
    """The first evaluation of a run and that of its last step, as summary.json shows them.

    Args:
        evaluations: the lines of evaluations.jsonl.
        step: the last step; ``after`` is empty if it was not evaluated.
    """
    first, last = (evaluations[0], evaluations[-1]) if evaluations else ({}, {})
    shown = ("env/", "episode/", "drift/", "preference/")
    keys = ["score/sampled", "score/greedy", *(key for key in first if key.startswith(shown))]
    return {
        "before": {key: first[key] for key in keys if key in first},
        "after": {key: last[key] for key in keys if key in last and last["step"] == step},
    }
