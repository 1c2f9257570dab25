"""One run: its objects during training, and one training step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import get_scheduler

import fdiv_gym as fg
from fdiv_gym.data import load_preferences
from fdiv_gym.envs import active_curriculum
from fdiv_gym.models import ChatEncoder
from fdiv_gym.objectives import Stream
from fdiv_gym.registry import boundary, close_plugin, restore_state, sampling_of, score_range_of, state_of
from fdiv_gym.rollouts import TimeoutLedger, derive_seed, run_episodes
from fdiv_gym.runs import (
    EVALUATIONS,
    METRICS,
    PROVENANCE,
    SUMMARY,
    TIMEOUTS,
    RunFolder,
    provenance_of,
    record_changes,
    refuse_changed_plugins,
)
from fdiv_gym_accelerate import metrics
from fdiv_gym_accelerate.agreement import Agreement
from fdiv_gym_accelerate.callbacks import Callbacks
from fdiv_gym_accelerate.checkpoint import load_checkpoint, newest_intact, save_checkpoint
from fdiv_gym_accelerate.evaluation import Evaluator, before_and_after
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.gap import bound_of
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.ranks import RankState, seed_random_states
from fdiv_gym_accelerate.records import Records
from fdiv_gym_accelerate.rollout_batch import BatchUpdates
from fdiv_gym_accelerate.scoring_events import ScoringWatch
from fdiv_gym_accelerate.screen import Screen
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.sources import PreferenceSource, TaskSource
from fdiv_gym_accelerate.start import (
    check_counts,
    check_engine,
    check_sampling,
    check_updates,
    demonstrations_of,
    load_policy,
    start_accelerator,
    start_tracker,
)
from fdiv_gym_accelerate.streams import StreamBatch, rollout_stream
from fdiv_gym_accelerate.totals import Totals
from fdiv_gym_accelerate.update import Updater
from fdiv_gym_accelerate.watch import Watch

SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


class Run:
    """State of a run.

    Args:
        config: the whole configuration.
        settings: the trainer's own options.
        folder: a run folder that was created (or, to resume, opened).
        screen: shows the progress.
        resume: start from the newest checkpoint.

    Raises:
        TrainerError: the model cannot be loaded, or there is nothing to resume from.
    """

    def __init__(
        self, config: fg.RunConfig, settings: TrainerOptions, folder: RunFolder, screen: Screen, *, resume: bool
    ) -> None:
        self.config, self.settings, self.folder = config, settings, folder
        self._built: list[fg.TextEnv | fg.Engine] = []
        self._tracks = False
        try:
            self._open(screen, resume=resume)
        except BaseException:
            self.close()
            raise

    def _open(self, screen: Screen, *, resume: bool) -> None:
        config, settings, folder = self.config, self.settings, self.folder
        self.accelerator = start_accelerator(settings.precision, config.tracker, folder, settings.process_deadline_s)
        if self.accelerator.num_processes > 1:
            screen.message(f"{self.accelerator.num_processes} processes")
        seed_random_states(derive_seed(config.seed, "process", self.accelerator.process_index))
        self.screen = screen
        self.events = EventLog(settings.event_policies, screen.message, several=self.accelerator.num_processes > 1)
        self.env = None if config.env is None else config.env.build()
        self._built += [] if self.env is None else [self.env]
        self.rank = RankState(self.accelerator, self.env, self.screen.message)
        self.objective = config.objective.build()
        check_updates(self.objective, settings)
        self.preference_data = None if config.preferences is None else load_preferences(config.preferences)
        self.policy = load_policy(
            config.model, self.accelerator, screen, demonstrations_of(self.env, self.preference_data),
            with_reference=self.objective.needs_reference,
        )  # fmt: skip
        self.engine = config.engine.build()
        self._built.append(self.engine)
        with boundary(self.engine, "start"):
            self.engine.start(self.policy.model, self.policy.tokenizer)
        check_sampling(sampling_of(self.engine, 0), settings, self.objective.streams)
        self.encoder = ChatEncoder(self.policy.tokenizer, config.model.chat)
        check_counts(config, settings, self.accelerator.num_processes, self.objective.streams)
        self.tasks = self._task_source()
        if settings.check_plugins and self.env is not None:
            check_engine(config.engine, self.engine, self.env, self.encoder, self.screen.message)
        self.preferences = self._preference_source()
        self.updater = Updater(
            self.objective, self.policy.model, self.policy.reference, self.accelerator,
            self.engine.options.temperature, settings.micro_batch_size,
        )  # fmt: skip
        self.optimizer = torch.optim.AdamW(
            self.policy.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay,
            betas=(settings.adam_beta1, settings.adam_beta2), eps=settings.adam_epsilon,
        )  # fmt: skip
        self.schedule = get_scheduler(
            SCHEDULES[settings.schedule], self.optimizer, num_warmup_steps=settings.warmup_steps,
            num_training_steps=settings.steps,
        )  # fmt: skip
        self.callbacks = Callbacks([ref.build() for ref in config.callbacks], self.screen.message)
        self.agreement = Agreement(
            self.updater, self.policy.tokenizer, bound_of(self.engine, settings.precision, settings.logprob_tolerance),
            settings, self.events,
        )  # fmt: skip
        self.updates = BatchUpdates(
            self.updater, self.optimizer, settings, config.seed, self.callbacks, self.screen.message, self.events,
            self.agreement,
        )  # fmt: skip
        score_range = (0.0, 1.0) if self.env is None else score_range_of(self.env)
        self.watch = Watch(self.events, self.updater, score_range)
        self.ledger = TimeoutLedger(
            [line["key"] for line in folder.lines(TIMEOUTS)], lambda key: folder.append(TIMEOUTS, {"key": key})
        )
        self.evaluator = Evaluator(
            self.accelerator, self.engine, self.encoder, self.updater, self.env,
            [] if self.preferences is None else self.preferences.heldout,
            settings, config.seed, self.policy.tokenizer.pad_token_id, self.ledger,
        )  # fmt: skip
        self.step = 0
        self._saved: int | None = None  # step of the newest checkpoint
        self.seconds = 0.0
        self._begun = time.monotonic()
        changed = False
        if resume:
            if self.accelerator.is_main_process:
                refuse_changed_plugins(folder, config)
            changed = self._resume()
        self.totals = Totals(
            self.rank, folder, write=self.accelerator.is_main_process, discard_after=self.step if changed else None
        )
        self.records = Records(folder, settings.samples_max_mb, self.screen.message)
        if self.accelerator.is_main_process:
            if not folder.read_json(PROVENANCE):
                folder.write_json(PROVENANCE, provenance_of(config) | self._identity() | self._processes())
            self.records.report_missing(self.step)
        self._tracks = config.tracker is not None
        start_tracker(self.accelerator, config.tracker)

    # ---- a step -----------------------------------------------------------------------------------

    def train_step(self) -> None:
        """Rollouts, verdicts, gradient, step, sync; one line of metrics.jsonl."""
        begun = time.monotonic()
        step = self.step + 1
        with boundary(self.objective, "at_step"):
            self.objective.at_step(step, self.settings.steps)
        self.callbacks.call("before_rollouts", step)
        line: dict[str, float] = {}
        groups = self._rollouts(step, line) if "rollouts" in self.objective.streams else None
        rollout_seconds = time.monotonic() - begun
        line |= self._update(step, groups)
        self.step = step
        line |= metrics.time_line(groups or (), time.monotonic() - begun, rollout_seconds)
        self._log(line, groups)
        try:
            self.events.end_step(step)
        except fg.TrainerError:
            self.finish("stopped")
            raise

    def _rollouts(self, step: int, line: dict[str, float]) -> list[fg.TrajectoryGroup]:
        assert self.env is not None
        assert self.tasks is not None
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        tasks = self.tasks.step(step)[process::processes]
        sampling = sampling_of(self.engine, derive_seed(self.config.seed, "rollouts", step, process))
        watch = ScoringWatch(self.events, self.env)
        watch.before(step, tasks)
        with self.totals.scoring("rollouts", step), self.accelerator.autocast():
            groups = run_episodes(
                self.env, self.engine, self.encoder, tasks, self.settings.group_size, sampling,
                after_rollouts=lambda drawn: self.callbacks.call("after_rollouts", step, drawn),
                ledger=self.ledger,
            )  # fmt: skip
        watch.after(groups)
        self.callbacks.call("after_verdicts", step, groups)
        self.tasks.observe(groups)
        line |= metrics.rollout_line(groups)
        metrics.check_unscored(step, line["verdicts/unscored"], self.settings.max_unscored, groups)
        return groups

    def _update(self, step: int, groups: Sequence[fg.TrajectoryGroup] | None) -> dict[str, float]:
        """The step's optimizer steps, at one learning rate, and what was noticed; then sync the engine."""
        line = {"learning_rate": self.schedule.get_last_lr()[0]}
        if not self.watch.before_updates(groups or ()):
            self.schedule.step()
            return {"updates/count": 0.0} | line
        rows = self._rows(step, groups)
        line = self.updates.run(step, rows) | line
        self.watch.after_updates(step, rows)
        if "rollouts" in rows.streams:
            line |= metrics.divergence_line(self.objective, rows.streams["rollouts"])
        self.schedule.step()
        self._send_weights()
        return line

    def _send_weights(self) -> None:
        with boundary(self.engine, "update_weights"):
            self.engine.update_weights(self.policy.model.state_dict().items())

    def _rows(self, step: int, groups: Sequence[fg.TrajectoryGroup] | None) -> StepRows:
        """This process's rows of each stream that the objective reads."""
        streams: dict[Stream, StreamBatch] = {}
        chosen: list[bool] = []
        pad_token = self.policy.tokenizer.pad_token_id
        if groups is not None:
            streams["rollouts"] = rollout_stream(groups, pad_token)
        if self.preferences is not None and "preferences" in self.objective.streams:
            process, processes = self.accelerator.process_index, self.accelerator.num_processes
            streams["preferences"], chosen = self.preferences.step(step, process, processes, pad_token)
        return StepRows(streams, groups or (), chosen)

    def _log(self, line: dict[str, float], groups: Sequence[fg.TrajectoryGroup] | None) -> None:
        line |= metrics.curriculum_line(self.env)
        line |= {f"total/{name}": value for name, value in self.rank.counters().items()}
        events = self.events.records(self.step)
        if self.accelerator.is_main_process:
            self.folder.append(METRICS, {"step": self.step, **line} | ({"events": events} if events else {}))
            self.records.keep_samples(self.evaluator.training_samples(self.step, groups))
            if self.config.tracker is not None:
                self.accelerator.log(line, step=self.step)
        self.screen.step(self.step, line)
        self.callbacks.call("after_step", self.step, line)

    # ---- evaluation and checkpoints ---------------------------------------------------------------

    def evaluate(self) -> None:
        """Evaluate the policy: writes one line of evaluations.jsonl and its samples."""
        with self.totals.scoring("evaluation", self.step):
            line, samples = self.evaluator.evaluate(self.step)
        if not line:
            return
        if self.accelerator.is_main_process:
            self.records.keep_samples(samples)
            self.folder.append(EVALUATIONS, {"step": self.step, **line})
        self.screen.evaluation(self.step, line)
        self.callbacks.call("at_evaluation", self.step, line)

    def is_evaluated(self) -> bool:
        """Whether the run folder holds an evaluation of this step, e.g. after a resume."""
        lines = self.folder.lines(EVALUATIONS)
        return bool(lines and lines[-1]["step"] == self.step)

    def save(self) -> None:
        """Write a checkpoint, unless there is one of this step: to replace it would risk both."""
        if self._saved == self.step:
            return
        ranks = self.rank.gathered()
        if self.accelerator.is_main_process:
            extra: dict[str, Any] = {
                "seconds": self.seconds + time.monotonic() - self._begun,
                "positions": self._positions(),
                "ranks": ranks,
                "events": self.events.state_dict(),
                "windows": self.watch.state_dict(),
                "agreement": self.agreement.state_dict(),
            }
            curriculum = active_curriculum(self.env)
            if curriculum is not None:
                extra["curriculum"] = state_of(curriculum)
            if self.objective.running:
                with boundary(self.objective, "state_dict"):
                    extra["objective"] = {name: float(value) for name, value in self.objective.state_dict().items()}
            step, policy = self.step, self.policy
            save_checkpoint(self.folder, step, policy.model, policy.tokenizer, self.optimizer, self.schedule, extra)
            self.folder.forget_old_checkpoints(self.settings.keep_checkpoints)
        self._saved = self.step
        self.accelerator.wait_for_everyone()

    def finish(self, status: str) -> dict[str, Any]:
        """Print the events of the run, and write ``summary.json``; its contents."""
        for text in self.events.table():
            self.screen.message(text)
        summary = self._summary(status)
        if self.accelerator.is_main_process:
            self.folder.write_json(SUMMARY, summary)
        return summary

    def _summary(self, status: str) -> dict[str, Any]:
        """The contents of ``summary.json``, with the first and the last evaluation."""
        return {
            "status": status,
            **before_and_after(self.folder.lines(EVALUATIONS), self.step),
            "seconds": round(self.seconds + time.monotonic() - self._begun, 2),
            "steps": self.step,
            "events": self.events.summary(),
            **self.records.missing(self.step),
        }

    def close(self) -> None:
        """Close the engine and the environment if they were built."""
        for plugin in reversed(self._built):
            close_plugin(plugin)
        self._built = []
        if self._tracks:
            self._tracks = False
            self.accelerator.end_training()

    def _positions(self) -> dict[str, int]:
        """Items read from each stream: tasks and preference units."""
        positions = {}
        if self.tasks is not None:
            positions["rollouts"] = self.step * self.settings.prompts_per_step
        if self.preferences is not None and self.config.preferences is not None:
            positions["preferences"] = self.step * self.config.preferences.pairs_per_step
        return positions

    def _processes(self) -> dict[str, int]:
        return {"processes": self.accelerator.num_processes}

    def _identity(self) -> dict[str, str]:
        """Hashes that must be the same when a run is resumed: initial weights and preference data."""
        identity = {"initial_weights": self.policy.source_hash}
        if self.preference_data is not None:
            identity["preference_data"] = self.preference_data.fingerprint
        return identity

    def _forget_what_follows(self, has_checkpoint: bool) -> None:
        """Cut the records to the step of the checkpoint; a summary of fewer steps than the run will have is removed."""
        recorded = len(self.folder.lines(METRICS))
        if recorded and not has_checkpoint:
            self.screen.message(
                f"there is no checkpoint: the run starts again, its {recorded} recorded steps are removed"
            )
        self.folder.keep_until(self.step if has_checkpoint else -1)
        if self.step < self.settings.steps:
            (self.folder.path / SUMMARY).unlink(missing_ok=True)

    def _task_source(self) -> TaskSource | None:
        if self.env is None or "rollouts" not in self.objective.streams:
            return None
        return TaskSource(self.env, self.config.seed, self.settings.prompts_per_step)

    def _preference_source(self) -> PreferenceSource | None:
        data, config = self.preference_data, self.config.preferences
        if data is None or config is None:
            return None
        if self.objective.needs_pairs and not data.paired:
            raise fg.ConfigError(
                f"objective {self.config.objective.name!r} needs pairs, but preferences {config.path} holds labelled "
                "single responses"
            )
        context = getattr(self.policy.model.config, "max_position_embeddings", None)
        source = PreferenceSource(data, self.encoder, config, self.config.seed, context)
        self.screen.message(f"preferences: {metrics.counts_line(source.counts)}")
        return source

    def _resume(self) -> bool:
        """Restore the state of the newest checkpoint; whether the configuration has changed."""
        recorded = self.folder.read_json(PROVENANCE)
        for what, value in self._identity().items():
            if recorded.get(what, value) != value:
                raise fg.TrainerError(
                    f"the run in {self.folder.path} started with {what.replace('_', ' ')} {recorded[what]}, "
                    f"now {value}: restore them, or start a new run"
                )
        chosen = [newest_intact(self.folder, self.screen.message)] if self.accelerator.is_main_process else [None]
        checkpoint = broadcast_object_list(chosen)[0]
        if checkpoint is not None:
            self.step, extra = load_checkpoint(checkpoint, self.policy.model, self.optimizer, self.schedule)
            self._saved = self.step
            self.seconds = float(extra["seconds"])
            self.rank.restore(extra["ranks"])
            self.events.load_state_dict(extra["events"])
            self.watch.load_state_dict(extra["windows"])
            self.agreement.load_state_dict(extra["agreement"])
            curriculum = active_curriculum(self.env)
            if curriculum is not None:
                restore_state(curriculum, extra["curriculum"])
            if self.objective.running:
                with boundary(self.objective, "load_state_dict"):
                    self.objective.load_state_dict(extra["objective"])
            self._send_weights()
        changes: dict[str, list[Any]] = {}
        if self.accelerator.is_main_process:
            changes = record_changes(self.folder, self.config, self.step)
            for key, (old, new) in changes.items():
                self.screen.message(f"{key}: {old} until step {self.step}, {new} from here on")
            self._forget_what_follows(checkpoint is not None)
        self.accelerator.wait_for_everyone()
        return bool(changes)
