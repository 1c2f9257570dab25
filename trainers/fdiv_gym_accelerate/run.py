"""One run: its steps, evaluations and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from accelerate.utils import broadcast_object_list

import fdiv_gym as fg
from fdiv_gym.objectives import Stream
from fdiv_gym.registry import boundary
from fdiv_gym.runs import (
    EVALUATIONS,
    METRICS,
    PROVENANCE,
    SUMMARY,
    RunFolder,
    Screen,
    newest_intact,
    provenance_of,
    record_changes,
    refuse_changed_plugins,
    send_metrics,
    start_trackers,
)
from fdiv_gym_accelerate import metrics
from fdiv_gym_accelerate.checkpoint import (
    checkpoints_kept,
    gathered_state,
    load_checkpoint,
    room_needed,
    save_checkpoint,
)
from fdiv_gym_accelerate.dynamic import Drawn
from fdiv_gym_accelerate.evaluation import before_and_after
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.parts import Parts
from fdiv_gym_accelerate.phases import Phases, trace_path, traced
from fdiv_gym_accelerate.plugin_state import keep_panels, plugin_states, restore_plugins
from fdiv_gym_accelerate.records import Records
from fdiv_gym_accelerate.reference import Moving
from fdiv_gym_accelerate.rollouts import Rollouts
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.sharding import whole
from fdiv_gym_accelerate.spending import Spending
from fdiv_gym_accelerate.streams import StreamBatch, rollout_stream, whole_groups
from fdiv_gym_accelerate.tables import send_samples, without_tables
from fdiv_gym_accelerate.totals import Totals


class Run(Parts):
    """A run with its state.

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
        super().__init__(config, settings, folder, screen)
        try:
            self._begin(resume=resume)
        except BaseException:
            self.close()
            raise

    def _begin(self, *, resume: bool) -> None:
        config, settings, folder = self.config, self.settings, self.folder
        self.step = 0
        self.phases = Phases(self.accelerator.device)
        self._saved: int | None = None  # step of the newest checkpoint
        self.seconds = 0.0
        self._begun = time.monotonic()
        self.spending = Spending(settings.budget, several=self.accelerator.num_processes > 1)
        changed = False
        if resume:
            if self.accelerator.is_main_process:
                refuse_changed_plugins(folder, config)
            changed = self._resume()
        self.totals = Totals(
            self.rank, folder, write=self.accelerator.is_main_process, discard_after=self.step if changed else None
        )
        self.rollouts = Rollouts(self, self.phases, self.totals)
        self.records = Records(folder, settings.samples_max_mb, self.screen.message)
        if self.accelerator.is_main_process:
            if not folder.read_json(PROVENANCE):
                folder.write_json(PROVENANCE, provenance_of(config) | self.identity() | self._processes())
            self.records.report_missing(self.step)
        if config.tracker is not None:
            self.trackers = start_trackers(config.tracker, folder.path)
            plain = without_tables(self.trackers)
            if plain and config.tracker.samples_every:
                self.screen.message(f"tracker {', '.join(plain)} gets no samples: they are in samples.jsonl")

    @property
    def ended_by(self) -> str | None:
        """What ended the run: ``steps``, or the quantity of its budget that is spent; None if it goes on."""
        return self.spending.exhausted or ("steps" if self.step >= self.settings.steps else None)

    def clock(self) -> float:
        """Seconds since the start of the run, without those between an interruption and the resume."""
        return self.seconds + time.monotonic() - self._begun

    # ---- a step -----------------------------------------------------------------------------------

    def train_step(self) -> None:
        """Rollouts, verdicts, gradient, step, sync; one line of metrics.jsonl."""
        step, path = self.step + 1, None
        if step in self.settings.profile_steps:
            path = trace_path(self.folder.path, step, self.accelerator.process_index)
        with traced(path):
            self._train_step(step)

    def _train_step(self, step: int) -> None:
        begun = time.monotonic()
        with boundary(self.objective, "at_step"):
            self.objective.at_step(step, self.settings.steps)
        if self.objective.advantage is not None:
            with boundary(self.objective.advantage, "at_step"):
                self.objective.advantage.at_step(step, self.settings.steps)
        self.callbacks.call("before_rollouts", step)
        line: dict[str, float] = {}
        drawn: Drawn | None = None
        if "rollouts" in self.objective.streams:
            drawn = self.rollouts.draw(step)
            line |= drawn.line
        rollout_seconds = time.monotonic() - begun
        line |= self._update(step, drawn)
        self.step = step
        self._move_reference()
        line |= self.phases.line()
        line |= metrics.time_line(drawn.sampled if drawn else (), time.monotonic() - begun, rollout_seconds)
        line |= self.spending.add(drawn.sampled if drawn else (), self.clock())
        self._log(line, drawn.groups if drawn else None)
        try:
            self.events.end_step(step)
        except fg.TrainerError:
            self.finish("stopped")
            raise

    def _update(self, step: int, drawn: Drawn | None) -> dict[str, float]:
        """The step's optimizer steps, at one learning rate, and what was noticed; then sync the engine."""
        line = {"learning_rate": self.schedule.get_last_lr()[0]}
        groups, sampled = (drawn.groups, drawn.sampled) if drawn else (None, ())
        if not self.watch.before_updates(groups or ()):
            self.schedule.step()
            return {"updates/count": 0.0} | line
        self.phases.enter("update")
        rows = self._rows(step, groups)
        if "rollouts" in rows.streams and self.callbacks.hear("before_updates"):
            whole_step, _ = whole_groups(rows.groups, rows.streams["rollouts"])
            self.callbacks.call("before_updates", step, whole_step, fg.Controls(self.objective))
        line = self.updates.run(step, rows) | line
        self.phases.leave()
        self.watch.after_updates(step, rows, sampled)
        if "rollouts" in rows.streams:
            line |= metrics.divergence_line(self.objective, rows.streams["rollouts"])
        self.schedule.step()
        self.phases.enter("sync")
        self.send_weights()
        self.phases.leave()
        return line

    def _move_reference(self) -> None:
        """Let the reference become the policy, where it moves and it is time."""
        every, reference = self.config.model.reference_every, self.policy.reference
        if every and self.step % every == 0 and isinstance(reference, Moving):
            reference.follow(self.policy.model)
            self.watch.reference_moved()

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
        line |= self.callbacks.metrics(line)
        events = self.events.records(self.step)
        if self.accelerator.is_main_process:
            self.folder.append(METRICS, {"step": self.step, **line} | ({"events": events} if events else {}))
            samples = self.evaluator.training_samples(self.step, groups)
            self.records.keep_samples(samples)
            tracker = self.config.tracker
            if tracker is not None:
                table = samples if tracker.samples_every and self.step % tracker.samples_every == 0 else []
                more = partial(send_samples, samples=table, step=self.step)
                send_metrics(self.trackers, line, self.step, self.screen.message, more)
        self.screen.step(self.step, line)
        self.callbacks.call("after_step", self.step, line)

    # ---- evaluation and checkpoints ---------------------------------------------------------------

    def evaluate(self) -> None:
        """Evaluate the policy: writes one line of evaluations.jsonl and its samples."""
        with self.totals.scoring("evaluation", self.step), whole(*self.policy.modules):
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
        ranks, plugins = self.rank.gathered(), plugin_states(self)
        gathered = gathered_state(self.policy, self.optimizer, keep=self.accelerator.is_main_process)
        if self.accelerator.is_main_process:
            extra: dict[str, Any] = {
                "seconds": self.clock(),
                "spent": self.spending.state_dict(),
                "positions": self._positions(),
                "ranks": ranks,
                "events": self.events.state_dict(),
                "windows": self.watch.state_dict(),
                "agreement": self.agreement.state_dict(),
                **plugins,
            }
            save_checkpoint(
                self.folder, self.step, self.policy, self.optimizer, self.schedule, extra, gathered=gathered
            )
            moves = bool(self.config.model.reference_every)
            keep = checkpoints_kept(self.settings.keep_checkpoints, room_needed(self.policy.model, moves=moves))
            self.folder.forget_old_checkpoints(keep)
            keep_panels(self)
        self._saved = self.step
        self.accelerator.wait_for_everyone()

    def finish(self, status: str) -> dict[str, Any]:
        """Print the events of the run, and write ``summary.json``; its contents."""
        for text in self.events.table():
            self.screen.message(text)
        summary = self._summary(status)
        if self.accelerator.is_main_process:
            keep_panels(self)
            self.folder.write_json(SUMMARY, summary)
        return summary

    def _summary(self, status: str) -> dict[str, Any]:
        """The contents of ``summary.json``, with the first and the last evaluation."""
        return {
            "status": status,
            **before_and_after(self.folder.lines(EVALUATIONS), self.step),
            **({} if self.ended_by is None else {"ended_by": self.ended_by}),
            "seconds": round(self.clock(), 2),
            "steps": self.step,
            "spent": self.spending.state_dict(),
            "events": self.events.summary(),
            **self.records.missing(self.step),
        }

    def _positions(self) -> dict[str, int]:
        """Items read from each stream: tasks and preference units."""
        positions = {}
        if self.tasks is not None:
            positions["rollouts"] = self.tasks.position
        if self.preferences is not None and self.config.preferences is not None:
            positions["preferences"] = self.step * self.config.preferences.pairs_per_step
        return positions

    def _processes(self) -> dict[str, int]:
        return {"processes": self.accelerator.num_processes}

    def _forget_what_follows(self, has_checkpoint: bool) -> None:
        """Cut the records to the step of the checkpoint; a summary of fewer steps than the run will have is removed."""
        recorded = len(self.folder.lines(METRICS))
        if recorded and not has_checkpoint:
            self.screen.message(
                f"there is no checkpoint: the run starts again, its {recorded} recorded steps are removed"
            )
        self.folder.keep_until(self.step if has_checkpoint else -1)
        if self.ended_by is None:
            (self.folder.path / SUMMARY).unlink(missing_ok=True)

    def _resume(self) -> bool:
        """Restore the state of the newest checkpoint; whether the configuration has changed."""
        recorded = self.folder.read_json(PROVENANCE)
        for what, value in self.identity().items():
            if recorded.get(what, value) != value:
                raise fg.TrainerError(
                    f"the run in {self.folder.path} started with {what.replace('_', ' ')} {recorded[what]}, "
                    f"now {value}: restore them, or start a new run"
                )
        chosen = [newest_intact(self.folder, self.screen.message)] if self.accelerator.is_main_process else [None]
        checkpoint = broadcast_object_list(chosen)[0]
        if checkpoint is not None:
            self.step, extra = load_checkpoint(checkpoint, self.policy, self.optimizer, self.schedule)
            self._saved = self.step
            if "spent" not in extra:
                raise fg.TrainerError(
                    f"checkpoint {checkpoint} lacks what the run had spent: an older fdiv-gym wrote it, and it "
                    "cannot be resumed; start a new run"
                )
            if self.tasks is not None:
                self.tasks.position = int(extra["positions"].get("rollouts", 0))
            self.seconds = float(extra["seconds"])
            self.spending.load_state_dict(extra["spent"])
            self.rank.restore(extra["ranks"])
            self.events.load_state_dict(extra["events"])
            self.watch.load_state_dict(extra["windows"])
            self.watch.reference_moved()
            self.agreement.load_state_dict(extra["agreement"])
            restore_plugins(self, extra)
            self.send_weights()
        changes: dict[str, list[Any]] = {}
        if self.accelerator.is_main_process:
            changes = record_changes(self.folder, self.config, self.step)
            for key, (old, new) in changes.items():
                self.screen.message(f"{key}: {old} until step {self.step}, {new} from here on")
            self._forget_what_follows(checkpoint is not None)
        self.accelerator.wait_for_everyone()
        return bool(changes)
