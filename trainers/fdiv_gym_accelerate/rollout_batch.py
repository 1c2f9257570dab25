"""The optimizer steps on the rows of one step: passes over the rows, and mini-batches in each pass."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

import fdiv_gym as fg
from fdiv_gym.objectives import Stream, checked_advantages
from fdiv_gym.registry import boundary, coefficients_of
from fdiv_gym_accelerate import metrics
from fdiv_gym_accelerate.agreement import Agreement
from fdiv_gym_accelerate.callbacks import Callbacks
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.gap import Gap
from fdiv_gym_accelerate.minibatches import StepRows, mini_batches
from fdiv_gym_accelerate.ratios import Ratios
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.sharding import full, whole
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
        callbacks: they receive the coefficients before each update.
        report: takes one line about a step without any update.
        events: takes what is noticed in a step, and says whether it may update the policy.
        agreement: compares the engine with the policy.
    """

    updater: Updater
    optimizer: torch.optim.Optimizer
    settings: TrainerOptions
    seed: int
    callbacks: Callbacks
    report: Callable[[str], None]
    events: EventLog
    agreement: Agreement

    def run(self, step: int, rows: StepRows) -> dict[str, float]:
        """Update the policy ``updates_per_rollout`` times ``minibatches`` times, or less often under ``max_kl``.

        The reference's log-probs, those of the old policy and the advantages are computed once; coefficients,
        and the current policy's log-probs where ``prepare`` reads them, before each update on its own rows.

        Args:
            step: from 1.
            rows: this process's rows; every process must have at least ``minibatches`` groups or units.

        Returns:
            The step's metrics: means over its updates (over those without signal if none is taken, and nothing if
            max_kl forbids the first), ``engine/logprob_gap`` before the first update, and ``ratio/...`` before the
            last.

        Raises:
            PluginError: the objective broke its contract.
        """
        gap, rollouts = self._score(rows), rows.streams.get("rollouts")
        engine_line = {} if rollouts is None else self.agreement.correct(rollouts)
        lines: list[dict[str, float]] = []
        left_out: list[dict[str, float]] = []
        ratios, stopped = Ratios(), False
        for part in self._parts(step, rows):
            gradients, coefficients, groups = self._gradient(step, part, moved=bool(lines))
            if rollouts is not None and "engine/logprob_gap" not in engine_line:
                engine_line |= self._compared(step, rows, gradients.gap if gap is None else gap)
            ratios = gradients.ratios if gradients.ratios.sums.get("tokens") else ratios
            stopped = "rollouts" in part.streams and self._is_too_far(gradients.ratios)
            norm = math.nan if stopped else self._clip(gradients)
            is_first = not lines and not left_out  # later the bounds of a clipped objective may end the gradient
            if is_first and norm == 0 and math.isfinite(gradients.loss):
                self._report_no_gradient(step, part, groups)
            allowed = self.events.agree()
            line = metrics.gradient_line(gradients, norm, coefficients)
            # Without signal AdamW's momentum and weight decay would still move the weights.
            if allowed and not stopped and norm > 0:
                self._take(coefficients)
                lines.append(line)
            else:
                self.optimizer.zero_grad(set_to_none=True)  # without gradients the optimizer changes nothing
                self.optimizer.step()
                left_out += [] if stopped else [line]
            if stopped:
                self._report_no_update(step, len(lines), gradients.ratios.kl)
            if stopped or not allowed:
                break
        result = averaged(lines or left_out) | {"updates/count": float(len(lines))}
        if self.settings.max_kl is not None:
            result["updates/stopped_early"] = float(stopped)
        return result | engine_line | (ratios.line() if rollouts is not None else {})

    def _compared(self, step: int, rows: StepRows, gap: Gap) -> dict[str, float]:
        """Compare the engine with the policy; the metrics of the comparison."""
        rollouts = rows.streams["rollouts"]
        with whole(self.updater.model):  # what is computed depends on the process
            if not gap.tokens:  # no row of this process has a gradient: an engine at fault may be the cause
                gap = self.updater.engine_gap(rollouts)
            return self.agreement.check(step, gap, rollouts, rows.groups)

    def _is_too_far(self, ratios: Ratios) -> bool:
        """Whether max_kl forbids the update; a distance that cannot be measured counts as too far."""
        if self.settings.max_kl is None:
            return False
        return ratios.kl is None or ratios.kl > self.settings.max_kl

    def _clip(self, gradients: Gradients) -> float:
        """Scale the gradient down to ``max_grad_norm``; its norm before, the same in all processes."""
        parameters = list(self.updater.model.parameters())
        total = full(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
        torch.nn.utils.clip_grads_with_norm_(parameters, self.settings.max_grad_norm, total)
        norm = float(total)
        if not (math.isfinite(norm) and math.isfinite(gradients.loss)):
            self.events.report(
                "nonfinite",
                f"the gradient is not finite (norm {norm}, loss {gradients.loss}): the learning rate is too high, the "
                "policy's log-probs are not finite, or the objective overflows at these log-ratios; lower "
                "trainer.learning_rate",
                grad_norm=norm,
                loss=gradients.loss,
            )
        return norm

    def _take(self, coefficients: Mapping[Stream, fg.Coefficients]) -> None:
        """One optimizer step."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.updater.objective.running:
            with boundary(self.updater.objective, "observe"):
                self.updater.objective.observe(coefficients)

    def _score(self, rows: StepRows) -> Gap | None:
        """What is computed once a step; returns the gap to the engine, except where the first update has all rows."""
        for stream in rows.streams.values():
            self.updater.score_in_advance(stream)
        if "rollouts" not in rows.streams:
            return None
        rollouts, advantage = rows.streams["rollouts"], self.updater.objective.advantage
        gap = None
        if self.settings.old_logps == "recomputed":
            gap = self.updater.recompute_old(rollouts)
        elif self.settings.minibatches > 1:
            gap = self.updater.engine_gap(rollouts)
        if advantage is not None and self.settings.updates_per_step > 1:
            rollouts.advantages = None
            whole, own = whole_groups(rows.groups, rollouts)
            rollouts.advantages, rollouts.estimator = checked_advantages(advantage, whole)[own], advantage
        return gap

    def _parts(self, step: int, rows: StepRows) -> Iterator[StepRows]:
        """The mini-batches of every pass."""
        process = self.updater.accelerator.process_index
        for update in range(self.settings.updates_per_rollout):
            yield from mini_batches(rows, self.settings.minibatches, self.seed, "minibatches", step, update, process)

    def _gradient(
        self, step: int, part: StepRows, *, moved: bool
    ) -> tuple[Gradients, Mapping[Stream, fg.Coefficients], fg.GroupBatch | None]:
        """Put the gradient of a mini-batch into the parameters; with its groups of all processes.

        Args:
            step: from 1.
            part: the mini-batch.
            moved: whether the step has made an update.
        """
        for stream in part.streams.values():
            self.updater.score_policy(stream, moved=moved)
        gathered = part.gathered()
        coefficients = coefficients_of(self.updater.objective, gathered.groups, gathered.preferences)
        self.callbacks.call("after_advantages", step, coefficients)
        several = self.settings.updates_per_step > 1
        gradients = self.updater.accumulate(part.streams, coefficients, gathered.own, ratios_of_all=several)
        return gradients, coefficients, gathered.groups

    def _report_no_gradient(self, step: int, part: StepRows, groups: fg.GroupBatch | None) -> None:
        """Report a gradient of exactly zero, unless nothing in the mini-batch should have one.

        Preferences have one at the first step; later a loss with a margin may be satisfied by all of them.
        """
        mixed = 0 if groups is None else int(torch.bincount(groups.index[~groups.all_equal()]).count_nonzero())
        count = 0 if groups is None else groups.count
        if mixed:
            what = f"{mixed} of {count} groups have different rewards"
        elif step == 1 and "preferences" in part.streams:
            what = "this first step has preferences"
        else:
            return
        self.events.report(
            "no_gradient",
            f"the gradient is exactly 0 although {what}, so nothing is learned: the loss does not reach the policy's "
            "weights, its coefficients are 0, or a learning rate that is too high has made the policy's probabilities "
            "exactly 0 and 1",
            mixed=mixed,
            groups=count,
        )

    def _report_no_update(self, step: int, taken: int, kl: float | None) -> None:
        """The policy cannot have left the old one before the first update: then it is the engine that differs."""
        if kl is None:
            self.report(
                f"step {step}: {taken} updates, because a mini-batch has no response token to measure "
                f"trainer.max_kl = {self.settings.max_kl} with; see response/tokens"
            )
        elif taken == 0:
            self.report(
                f"step {step}: no update, because the engine's log-probs are already {kl:.3g} nats a token from the "
                f"policy's (trainer.max_kl = {self.settings.max_kl}); see trainer.old_logps"
            )


def averaged(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over the updates that have it; the metrics of one update are returned unchanged."""
    if len(lines) == 1:
        return dict(lines[0])
    names = dict.fromkeys(name for line in lines for name in line)
    return {name: statistics.mean([float(line[name]) for line in lines if name in line]) for name in names}
