"""One run: its steps, evaluations and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.data import load_preferences
from fdiv_gym.models import ChatEncoder
from fdiv_gym.runs import (
    EVALUATIONS,
    METRICS,
    PROVENANCE,
    SUMMARY,
    RunFolder,
    Screen,
    check_tracker,
    finish_trackers,
    newest_intact,
    provenance_of,
    record_changes,
    refuse_changed_plugins,
    send_metrics,
    start_trackers,
)
from fdiv_gym_gprl import pair_scores, preference
from fdiv_gym_preference_model.checkpoint import MODEL, load_checkpoint, save_checkpoint
from fdiv_gym_preference_model.measures import dimension_shares, pair_measures, triple_measures
from fdiv_gym_preference_model.pairs import Pair, drawn, encode_pairs, padded, refuse_unpaired
from fdiv_gym_preference_model.settings import TrainerOptions
from fdiv_gym_preference_model.start import build, context_of

LOWER = "lower trainer.learning_rate, or raise trainer.tau"


class Run:
    """A run with its state.

    Args:
        config: the whole configuration.
        settings: the trainer's own options.
        folder: a run folder that was created (or, to resume, opened).
        screen: shows the progress.
        resume: start from the newest checkpoint.

    Raises:
        ConfigError: no preferences, no pairs, or options that do not fit.
        TrainerError: the model cannot be loaded, or there is nothing to resume from.
    """

    def __init__(
        self, config: fg.RunConfig, settings: TrainerOptions, folder: RunFolder, screen: Screen, *, resume: bool
    ) -> None:
        if config.preferences is None:
            raise fg.ConfigError('a preference model needs pairs: add a table [preferences] with path = "..."')
        self.config, self.settings, self.folder, self.screen = config, settings, folder, screen
        if config.tracker is not None:
            check_tracker(config.tracker, folder.path)
        self.step, self.seconds, self._begun = 0, 0.0, time.monotonic()
        data = load_preferences(config.preferences)
        refuse_unpaired(data, config.preferences)
        self.trained, initial = build(config.model, settings, data, config.seed, screen.warm_start)
        self.model = self.trained.model
        self.device = self.model.value_head.weight.device
        encoder, context = ChatEncoder.of(self.trained.tokenizer, config.model), context_of(self.model.backbone)
        limits = (encoder, config.preferences, context)
        self.pairs, counts = encode_pairs(data.units, *limits, required=True)
        self.heldout, left = encode_pairs(data.heldout, *limits, required=False)
        screen.message(f"{len(self.pairs)} pairs, {len(self.heldout)} held out; read {data.counts['read']}")
        for name in ("prompt_too_long", "same_after_cut", "responses_cut"):
            if counts[name] + left[name]:
                screen.message(f"preferences: {name.replace('_', ' ')} {counts[name] + left[name]}")
        self.identity = {"initial_weights": initial, "preference_data": data.fingerprint}
        if resume:
            self._resume()
        if not folder.read_json(PROVENANCE):
            folder.write_json(PROVENANCE, provenance_of(config) | self.identity)
        self.trackers = [] if config.tracker is None else start_trackers(config.tracker, folder.path)

    def close(self) -> None:
        """End the trackers."""
        finish_trackers(self.trackers, self.screen.message)

    def train_step(self) -> None:
        """One optimizer step on the pairs of this step; one line of metrics.jsonl."""
        begun, step = time.monotonic(), self.step + 1
        assert self.config.preferences is not None
        count = self.config.preferences.pairs_per_step
        places = drawn(len(self.pairs), self.config.seed, (step - 1) * count, count)
        trained = self.trained
        rate = trained.schedule.get_last_lr()[0]
        trained.optimizer.zero_grad()
        losses, found = 0.0, []
        for start in range(0, count, self.settings.micro_batch_size):
            part = [self.pairs[i] for i in places[start : start + self.settings.micro_batch_size]]
            scores, eigenvalues = self._scores(part)
            loss = self._losses(preference(eigenvalues, scores)).sum() / count
            loss.backward()  # type: ignore[no-untyped-call]
            losses += float(loss.detach())
            found.append((scores.detach(), eigenvalues.detach()))
        norm = float(torch.nn.utils.clip_grad_norm_(trained.parameters.values(), self.settings.max_grad_norm))
        if not norm < float("inf"):
            raise fg.TrainerError(f"step {step}: the gradient is not finite; {LOWER}")
        trained.optimizer.step()
        trained.schedule.step()
        self.step = step
        scores, eigenvalues = (torch.cat(parts) for parts in zip(*found, strict=True))
        line = {"loss": losses, "grad_norm": norm, "learning_rate": float(rate)}
        line["pairs/accuracy"] = float((preference(eigenvalues, scores) > 0).double().mean())
        line |= dimension_shares(scores, eigenvalues)
        line["time/seconds"] = time.monotonic() - begun
        self.folder.append(METRICS, {"step": step, **line})
        send_metrics(self.trackers, line, step, self.screen.message)
        self.screen.step(step, line)

    def evaluate(self) -> None:
        """Measure the held-out pairs: one line of evaluations.jsonl; nothing without held-out pairs.

        Raises:
            TrainerError: a score is not finite.
        """
        if not self.heldout:
            return
        parts = []
        with torch.no_grad():
            for start in range(0, len(self.heldout), self.settings.micro_batch_size):
                parts.append(self._scores(self.heldout[start : start + self.settings.micro_batch_size]))
        scores, eigenvalues = (torch.cat(part) for part in zip(*parts, strict=True))
        if not bool(scores.isfinite().all() and eigenvalues.isfinite().all()):
            raise fg.TrainerError(f"step {self.step}: the scores of held-out pairs are not finite; {LOWER}")
        line = pair_measures(scores, eigenvalues, self.settings.tau)
        line |= triple_measures([pair.unit for pair in self.heldout], preference(eigenvalues, scores).tolist())
        self.folder.append(EVALUATIONS, {"step": self.step, **line})
        own = {name: value for name, value in line.items() if not name.startswith("dimension/")}  # steps have these
        send_metrics(self.trackers, own, self.step, self.screen.message)
        self.screen.evaluation(self.step, line)

    def is_evaluated(self) -> bool:
        """Whether the run folder holds an evaluation of this step, e.g. after a resume."""
        lines = self.folder.lines(EVALUATIONS)
        return bool(lines and lines[-1]["step"] == self.step)

    def save(self) -> None:
        """Write a checkpoint, unless there is one of this step.

        Raises:
            TrainerError: a weight is not finite, or the checkpoint cannot be written.
        """
        if (self.folder.path / "checkpoints" / f"step-{self.step:06d}").exists():
            return
        broken = next((name for name, p in self.trained.parameters.items() if not p.isfinite().all()), None)
        if broken is not None:
            raise fg.TrainerError(f"step {self.step}: the weights {broken} are not finite and not saved; {LOWER}")
        save_checkpoint(self.folder, self.step, self.trained, self.seconds + time.monotonic() - self._begun)
        self.folder.forget_old_checkpoints(self.settings.keep_checkpoints)

    def finish(self, status: str) -> dict[str, Any]:
        """Write ``summary.json``; its contents."""
        evaluations = self.folder.lines(EVALUATIONS)
        first, last = (evaluations[0], evaluations[-1]) if evaluations else ({}, {})
        shown = [name for name in first if name.startswith(("heldout/", "triples/"))]
        summary = {
            "status": status,
            "before": {name: first[name] for name in shown},
            "after": {name: last[name] for name in shown if last["step"] == self.step},
            "seconds": round(self.seconds + time.monotonic() - self._begun, 2),
            "steps": self.step,
            "model": f"checkpoints/step-{self.step:06d}/{MODEL}" if self.step else None,
        }
        self.folder.write_json(SUMMARY, summary)
        return summary

    def _scores(self, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
        """[N, k] s_l(chosen > rejected) and [N, k] eigenvalues, the mean of those behind both responses.

        The two are equal in a causal backbone; the mean keeps s skew-symmetric in any other.
        """
        ids, mask, lengths = padded(pairs, self.trained.tokenizer.pad_token_id, self.device)
        lower = self.settings.precision == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=lower):
            embeddings, eigenvalues = self.model.encode(ids, mask, lengths)
        half = len(pairs)
        scores = pair_scores(embeddings[:half], embeddings[half:])
        return scores, (eigenvalues[:half] + eigenvalues[half:]) / 2

    def _losses(self, scores: Tensor) -> Tensor:
        """[N] -log sigmoid(s / tau)."""
        return -torch.nn.functional.logsigmoid(scores / self.settings.tau)

    def _resume(self) -> None:
        """Restore the state of the newest checkpoint, and cut the records to its step."""
        refuse_changed_plugins(self.folder, self.config)
        recorded = self.folder.read_json(PROVENANCE)
        for what, value in self.identity.items():
            if recorded.get(what, value) != value:
                raise fg.TrainerError(
                    f"the run in {self.folder.path} started with {what.replace('_', ' ')} {recorded[what]}, "
                    f"now {value}: restore them, or start a new run"
                )
        checkpoint = newest_intact(self.folder, self.screen.message)
        if checkpoint is not None:
            self.step, self.seconds = load_checkpoint(checkpoint, self.trained)
        for key, (old, new) in record_changes(self.folder, self.config, self.step).items():
            self.screen.message(f"{key}: {old} until step {self.step}, {new} from here on")
        self.folder.keep_until(self.step if checkpoint is not None else -1)
        if self.step < self.settings.steps:
            (self.folder.path / SUMMARY).unlink(missing_ok=True)
