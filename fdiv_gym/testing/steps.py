"""Synthetic training steps: the inputs of an objective, without a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fdiv_gym.objectives.base import Objective, Stream
from fdiv_gym.objectives.batch import (
    Coefficients,
    GroupBatch,
    MicroBatch,
    ObjectiveOutput,
    PreferenceBatch,
    StepAdvantages,
)
from fdiv_gym.objectives.tokens import compact


@dataclass(frozen=True)
class Rows:
    """The rows of one stream.

    Args:
        logps: [N, T] log-probs of the tokens under the policy, in nats.
        ref_logps: [N, T] under the reference.
        old_logps: [N, T] under the sampling policy, None for preferences.
        mask: [N, T] bool, True on response tokens.
        unit: [N] int64, the unit of each row; units are contiguous and numbered from 0.
    """

    logps: Tensor
    ref_logps: Tensor
    old_logps: Tensor | None
    mask: Tensor
    unit: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> Rows:
        """The same rows with ``change`` applied to each tensor of log-probs."""
        old = None if self.old_logps is None else change(self.old_logps)
        return dataclasses.replace(self, logps=change(self.logps), ref_logps=change(self.ref_logps), old_logps=old)

    def take(self, order: Tensor) -> Rows:
        """Some rows, or all in another order; units are renumbered in order of appearance."""
        unit = self.unit[order]
        starts = torch.ones_like(unit)
        starts[1:] = (unit[1:] != unit[:-1]).long()
        old = None if self.old_logps is None else self.old_logps[order]
        return Rows(self.logps[order], self.ref_logps[order], old, self.mask[order], starts.cumsum(0) - 1)

    def total(self, values: Tensor) -> Tensor:
        """[N] fp64: sums over response tokens."""
        return torch.where(self.mask, values.detach().double(), 0.0).sum(-1)


@dataclass(frozen=True)
class Step:
    """One training step: rollouts in groups, and preferences.

    Args:
        rewards: [N] fp64, NaN where there is no score.
        group: [N] int64, numbered from 0.
        rollouts: the rows of the rollouts; each row is a unit.
        chosen: [M] bool.
        preferences: the rows of the preferences.
        advantages: [N] fp64 advantages that the groups carry, or None.
        estimator: the ``Advantage`` that the carried advantages are said to come from.
    """

    rewards: Tensor
    group: Tensor
    rollouts: Rows
    chosen: Tensor
    preferences: Rows
    advantages: Tensor | None = None
    estimator: object = None

    def rows(self, stream: Stream) -> Rows:
        """The rows of a stream."""
        return self.rollouts if stream == "rollouts" else self.preferences

    def map(self, change: Callable[[Tensor], Tensor]) -> Step:
        """The same step with ``change`` applied to every tensor of log-probs."""
        return dataclasses.replace(self, rollouts=self.rollouts.map(change), preferences=self.preferences.map(change))

    def with_logps(self, stream: Stream, logps: Tensor) -> Step:
        """The same step under another policy on one stream."""
        rows = dataclasses.replace(self.rows(stream), logps=logps)
        return dataclasses.replace(self, rollouts=rows) if stream == "rollouts" else self._with_preferences(rows)

    def on_reference(self) -> Step:
        """The same step with policy, reference and sampling policy equal."""

        def equal(rows: Rows) -> Rows:
            old = None if rows.old_logps is None else rows.logps
            return dataclasses.replace(rows, ref_logps=rows.logps, old_logps=old)

        return dataclasses.replace(self, rollouts=equal(self.rollouts), preferences=equal(self.preferences))

    def with_responses(self, order: Tensor) -> Step:
        """The same step with some responses, or with all in another order; groups are renumbered."""
        _, group = torch.unique(self.group[order], return_inverse=True)
        carried = None if self.advantages is None else self.advantages[order]
        return dataclasses.replace(
            self, rewards=self.rewards[order], group=group, rollouts=self.rollouts.take(order), advantages=carried
        )

    def with_preference_rows(self, order: Tensor) -> Step:
        """The same step with some preference rows, or with all in another order."""
        return dataclasses.replace(self, chosen=self.chosen[order], preferences=self.preferences.take(order))

    def groups(self, policy: bool, tokens: bool = False) -> GroupBatch:
        """The rollouts as ``prepare`` gets them.

        Args:
            policy: with the log-probs of ``needs_policy_logps``.
            tokens: with those of ``needs_token_logps``.
        """
        rows = self.rollouts
        assert rows.old_logps is not None
        carried = None
        if self.advantages is not None:
            carried = StepAdvantages(self.advantages, self.estimator, self.rewards.clone())
        return GroupBatch(
            rewards=self.rewards.clone(),
            index=self.group.clone(),
            old_logps=rows.total(rows.old_logps),
            lengths=rows.mask.sum(-1),
            advantages=carried,
            policy_logps=rows.total(rows.logps) if policy else None,
            ref_logps=rows.total(rows.ref_logps) if policy else None,
            policy_tokens=compact(rows.logps, rows.mask) if tokens else None,
            old_tokens=compact(rows.old_logps, rows.mask) if tokens else None,
        )

    def preference_units(self, policy: bool) -> PreferenceBatch:
        """The preferences as ``prepare`` gets them."""
        rows = self.preferences
        return PreferenceBatch(
            chosen=self.chosen.clone(),
            unit=rows.unit.clone(),
            lengths=rows.mask.sum(-1),
            policy_logps=rows.total(rows.logps) if policy else None,
            ref_logps=rows.total(rows.ref_logps) if policy else None,
        )

    def _with_preferences(self, rows: Rows) -> Step:
        return dataclasses.replace(self, preferences=rows)


def make_step(
    sizes: Sequence[int] = (4, 3, 5),
    pairs: int = 5,
    tokens: int = 6,
    seed: int = 0,
    spread: float = 0.3,
    full_length: bool = False,
) -> Step:
    """A random step in fp64.

    Args:
        sizes: responses of each group; rewards differ within a group.
        pairs: preference pairs.
        tokens: T; responses have 1 to T tokens, environment tokens among them, unless ``full_length``.
        seed: seed of the random numbers.
        spread: standard deviation of the log-ratios of a token, in nats.
        full_length: every response has T tokens.
    """
    generator = torch.Generator().manual_seed(seed)
    count = sum(sizes)

    def rows(n: int, unit: Tensor, sampled: bool) -> Rows:
        def noise(scale: float) -> Tensor:
            return scale * torch.randn(n, tokens, generator=generator, dtype=torch.float64)

        logps = -0.2 - noise(1.0).abs()
        mask = torch.rand(n, tokens, generator=generator) < 0.7
        mask[torch.arange(n), torch.randint(tokens, (n,), generator=generator)] = True
        old = logps + noise(spread) if sampled else None
        return Rows(logps, logps + noise(spread), old, mask | full_length, unit)

    # Evenly spaced scores in random order: every group has one best, one worst and the same mean.
    rewards = [torch.linspace(0, 1, n, dtype=torch.float64)[torch.randperm(n, generator=generator)] for n in sizes]
    return Step(
        rewards=torch.cat(rewards),
        group=torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)),
        rollouts=rows(count, torch.arange(count), True),
        chosen=torch.arange(2 * pairs) % 2 == 0,
        preferences=rows(2 * pairs, torch.arange(2 * pairs) // 2, False),
    )


@dataclass(frozen=True)
class Outcome:
    """The result of one step.

    Args:
        loss: sum of the losses.
        value: sum of the reported values.
        gradients: [N, T] for each stream that was read: derivative of the loss by each token's log-prob.
        metrics: sums of the metrics.
        active: [N] bool for each stream.
    """

    loss: Tensor
    value: Tensor
    gradients: Mapping[Stream, Tensor]
    metrics: Mapping[str, Tensor]
    active: Mapping[Stream, Tensor]

    @property
    def norm(self) -> float:
        """Norm of the gradients of all streams together."""
        return float(sum(float(g.double().pow(2).sum()) for g in self.gradients.values()) ** 0.5)

    def distance(self, other: Outcome) -> float:
        """Norm of the difference of the gradients."""
        parts = [self.gradients[s].double() - other.gradients[s].double() for s in self.gradients]
        return float(sum(float(d.pow(2).sum()) for d in parts) ** 0.5)

    @property
    def finite(self) -> bool:
        """Whether the loss, its value and every gradient are finite."""
        values = [self.loss, self.value, *self.gradients.values()]
        return all(bool(torch.isfinite(v).all()) for v in values)


def prepare(objective: Objective, step: Step) -> Mapping[Stream, Coefficients]:
    """``objective.prepare`` on exactly the inputs that the objective declares."""
    policy = objective.needs_policy_logps
    with torch.no_grad():
        return objective.prepare(
            step.groups(policy, objective.needs_token_logps) if "rollouts" in objective.streams else None,
            step.preference_units(policy) if "preferences" in objective.streams else None,
        )


def micro_batch(
    objective: Objective, rows: Rows, coefficients: Coefficients, index: Tensor, logps: Tensor
) -> MicroBatch:
    """The rows ``index`` of a stream with their coefficients; ``logps`` [N, T] carries the gradient."""
    return MicroBatch(
        logps=logps[index],
        mask=rows.mask[index],
        ref_logps=rows.ref_logps[index] if objective.needs_reference else None,
        old_logps=None if rows.old_logps is None else rows.old_logps[index],
        rows={name: values[index] for name, values in coefficients.rows.items()},
    )


def evaluate(objective: Objective, step: Step, units: int | None = None, skip: bool = False) -> Outcome:
    """One step as a trainer runs it: ``prepare`` on all rows, then a sum over micro-batches.

    Args:
        objective: the objective.
        step: the step.
        units: units in a micro-batch; None puts all into one.
        skip: leave out units without an active row.
    """
    loss = value = torch.zeros((), dtype=torch.float64)
    gradients: dict[Stream, Tensor] = {}
    metrics: dict[str, Tensor] = {}
    active: dict[Stream, Tensor] = {}
    for stream, coefficients in prepare(objective, step).items():
        rows = step.rows(stream)
        leaf = rows.logps.clone().requires_grad_()
        for index in _split(rows.unit, units, coefficients.active if skip else None):
            output = objective.loss(stream, micro_batch(objective, rows, coefficients, index, leaf))
            _backward(output)
            loss, value = loss + output.loss.detach().double(), value + output.value.double()
            for name, metric in output.metrics.items():
                metrics[name] = metrics.get(name, torch.zeros(())) + metric.double()
        gradients[stream] = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        active[stream] = coefficients.active
    return Outcome(loss, value, gradients, metrics, active)


def _backward(output: ObjectiveOutput) -> None:
    if output.loss.requires_grad:
        output.loss.backward()  # type: ignore[no-untyped-call]


def _split(unit: Tensor, units: int | None, active: Tensor | None) -> list[Tensor]:
    """Row indices of each micro-batch."""
    wanted = sorted({int(u) for u in (unit if active is None else unit[active])})
    size = max(len(wanted), 1) if units is None else units
    parts = [torch.tensor(wanted[i : i + size]) for i in range(0, len(wanted), size)]
    return [torch.isin(unit, part).nonzero().squeeze(-1) for part in parts]
