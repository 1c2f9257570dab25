"""The optimizer steps on the rows of one step: passes over the rows, and mini-batches in each pass."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

import fdiv_gym as fg
from fdiv_gym.objectives import checked_advantages
from fdiv_gym.registry import coefficients_of
from fdiv_gym_accelerate import metrics
from fdiv_gym_accelerate.callbacks import Callbacks
from fdiv_gym_accelerate.minibatches import StepRows, mini_batches
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.streams import whole_groups
from fdiv_gym_accelerate.update import Gradients, Updater


@dataclass(frozen=True)
class BatchUpdates:
    """Makes the updates of each step.

    Args:
        updater: objective, policy and reference.
        optimizer: of the policy's parameters.
        settings: how many updates, and when to end them.
        seed: of the run.
        callbacks: they see the coefficients before each update.
        report: takes one line about a step without any update.
    """

    updater: Updater
    optimizer: torch.optim.Optimizer
    settings: TrainerOptions
    seed: int
    callbacks: Callbacks
    report: Callable[[str], None]

    def run(self, step: int, rows: StepRows) -> dict[str, float]:
        """Update the policy ``updates_per_rollout`` times ``minibatches`` times, or less often under ``max_kl``.

        The reference's log-probs, those of the old policy and the advantages are computed once; coefficients,
        and the current policy's log-probs where ``prepare`` reads them, before each update on its own rows.

        Args:
            step: from 1.
            rows: this process's rows; every process must have at least ``minibatches`` groups or units.

        Returns:
            The step's metrics: means over its mini-batches, ``engine/logprob_gap`` before the first update, and
            ``ratio/...`` before the last.

        Raises:
            PluginError: the objective broke its contract.
            TrainerError: a gradient is not finite.
        """
        gap = self._score(rows)
        lines: list[dict[str, float]] = []
        taken, stopped = 0, False
        for part in self._parts(step, rows):
            gradients, active, line = self._gradient(step, part)
            lines.append(line)
            gap = gradients.logprob_gap if gap is None else gap
            stopped = self.settings.max_kl is not None and gradients.ratios.kl > self.settings.max_kl
            # One update is made even from an all-zero gradient, as ever; of several, it would be momentum alone.
            takes = not stopped and (active or self.settings.updates_per_step == 1)
            if not takes:
                self.optimizer.zero_grad(set_to_none=True)  # without gradients the optimizer changes nothing
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            taken += takes
            if stopped:
                self._tell(step, taken, gradients.ratios.kl)
                break
        result = averaged(lines) | {"updates/count": float(taken)}
        if self.settings.max_kl is not None:
            result["updates/stopped_early"] = float(stopped)
        if "rollouts" in rows.streams:
            result |= {"engine/logprob_gap": gap or 0.0} | gradients.ratios.line()
        return result

    def _score(self, rows: StepRows) -> float | None:
        """What is computed once a step; returns the gap to the engine if the old log-probs are recomputed."""
        for stream in rows.streams.values():
            self.updater.score_in_advance(stream)
        if "rollouts" not in rows.streams:
            return None
        rollouts, advantage = rows.streams["rollouts"], self.updater.objective.advantage
        gap = self.updater.recompute_old(rollouts) if self.settings.old_logps == "recomputed" else None
        if advantage is not None and self.settings.updates_per_step > 1:
            whole, own = whole_groups(rows.groups, rollouts)
            rollouts.advantages = checked_advantages(advantage, whole)[own]
        return gap

    def _parts(self, step: int, rows: StepRows) -> Iterator[StepRows]:
        """The mini-batches of every pass."""
        process = self.updater.accelerator.process_index
        for update in range(self.settings.updates_per_rollout):
            yield from mini_batches(rows, self.settings.minibatches, self.seed, "minibatches", step, update, process)

    def _gradient(self, step: int, part: StepRows) -> tuple[Gradients, bool, dict[str, float]]:
        """Put the clipped gradient of a mini-batch into the parameters; whether a row is active; the metrics."""
        for stream in part.streams.values():
            self.updater.score_policy(stream)
        gathered = part.gathered()
        coefficients = coefficients_of(self.updater.objective, gathered.groups, gathered.preferences)
        self.callbacks.call("after_advantages", step, coefficients)
        gradients = self.updater.accumulate(part.streams, coefficients, gathered.own)
        parameters = self.updater.model.parameters()
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm))
        if not math.isfinite(norm):
            raise fg.TrainerError(f"step {step}: the gradient is not finite (norm {norm})")
        line = metrics.gradient_line(gradients, norm)
        for coefficient in coefficients.values():
            line |= coefficient.metrics
        return gradients, any(bool(c.active.any()) for c in coefficients.values()), line

    def _tell(self, step: int, taken: int, kl: float) -> None:
        """The policy cannot have left the old one before the first update: then it is the engine that differs."""
        if taken == 0:
            self.report(
                f"step {step}: no update, because the engine's log-probs are already {kl:.3g} nats a token from the "
                f"policy's (trainer.max_kl = {self.settings.max_kl}); see trainer.old_logps"
            )


def averaged(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over the mini-batches that have it; one mini-batch is returned unchanged."""
    if len(lines) == 1:
        return dict(lines[0])
    names = dict.fromkeys(name for line in lines for name in line)
    return {name: statistics.mean([float(line[name]) for line in lines if name in line]) for name in names}
