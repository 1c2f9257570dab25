"""The inputs of an objective: whole groups and preferences for ``prepare``, micro-batches for ``loss``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepAdvantages:
    """Advantages that were computed on a whole rollout batch, with what they were computed from.

    Args:
        values: [N] fp64, for the rows of the mini-batch.
        estimator: the ``Advantage`` that computed them.
        rewards: [N] fp64, the rewards of these rows that it read.
        components: the parts of the verdicts that it read, each [N] fp64.
    """

    values: Tensor
    estimator: object
    rewards: Tensor
    components: Mapping[str, Tensor] = field(default_factory=dict)

    def are_of(self, estimator: object, groups: GroupBatch) -> bool:
        """Whether ``estimator`` computed them from the rewards and components of ``groups``."""
        if estimator is not self.estimator or set(groups.components) != set(self.components):
            return False
        pairs = [(groups.rewards, self.rewards)]
        pairs += [(groups.components[name], values) for name, values in self.components.items()]
        return all(
            now.shape == then.shape and bool(((now == then) | (now.isnan() & then.isnan())).all())
            for now, then in pairs
        )


@dataclass(frozen=True)
class GroupBatch:
    """All responses of one step; responses to one prompt share a group index. No gradients.

    Args:
        rewards: [N] fp64 scores, NaN where a response could not be scored.
        index: [N] int64, the group of each response, numbered from 0.
        old_logps: [N] fp64, log-prob of each response under the policy that sampled it.
        lengths: [N] int64, response tokens.
        components: named parts of the verdicts, each [N] fp64, NaN where absent.
        advantages: where they were computed before, on the whole rollout batch of which this is a mini-batch;
            None where the objective computes them itself. ``checked_advantages`` reads them.
        policy_logps: [N] under the current policy; only for objectives with ``needs_policy_logps``.
        ref_logps: [N] under the reference; only for objectives with ``needs_policy_logps``.
        policy_tokens: [N, L] fp64, the k-th column that of each response's k-th token, NaN beyond its last, under
            the current policy; only for objectives with ``needs_token_logps``.
        old_tokens: [N, L] fp64, the same under the policy that sampled; for the same objectives.
    """

    rewards: Tensor
    index: Tensor
    old_logps: Tensor
    lengths: Tensor
    components: Mapping[str, Tensor] = field(default_factory=dict)
    advantages: StepAdvantages | None = None
    policy_logps: Tensor | None = None
    ref_logps: Tensor | None = None
    policy_tokens: Tensor | None = None
    old_tokens: Tensor | None = None

    @classmethod
    def of_equal_size(
        cls, rewards: Tensor, group_size: int, old_logps: Tensor | None = None, lengths: Tensor | None = None
    ) -> GroupBatch:
        """Groups of ``group_size`` contiguous responses, for training loops outside fdiv-gym.

        Raises:
            ValueError: the rewards do not divide into groups.
        """
        n = rewards.numel()
        if rewards.dim() != 1 or group_size < 1 or n % group_size:
            raise ValueError(f"rewards of shape {tuple(rewards.shape)} do not divide into groups of {group_size}")
        return cls(
            rewards=rewards.detach().double(),
            index=torch.arange(n, device=rewards.device) // group_size,
            old_logps=torch.zeros_like(rewards).double() if old_logps is None else old_logps.detach().double(),
            lengths=torch.ones(n, dtype=torch.long, device=rewards.device) if lengths is None else lengths,
        )

    @property
    def scored(self) -> Tensor:
        """[N] bool: whether the response has a score."""
        return ~torch.isnan(self.rewards)

    @property
    def count(self) -> int:
        """Number of groups (prompts)."""
        return int(self.index.max()) + 1 if self.index.numel() else 0

    @property
    def sizes(self) -> Tensor:
        """[N] fp64: the number of responses in each response's group, unscored ones included."""
        return torch.bincount(self.index, minlength=self.count).double()[self.index]

    @property
    def shares(self) -> Tensor:
        """[N] fp64, 1/(P G): the weight of each response in the mean over prompts of the mean over responses."""
        return 1.0 / (self.count * self.sizes)

    def sum(self, values: Tensor) -> Tensor:
        """[N]: the sum of ``values`` over each response's group, unscored responses left out."""
        kept = torch.where(self.scored, values.double(), 0.0)
        total = torch.zeros(self.count, dtype=torch.float64, device=kept.device)
        return total.index_add(0, self.index, kept)[self.index]

    def mean(self, values: Tensor) -> Tensor:
        """[N]: the mean over the scored responses of each response's group (NaN if there are none)."""
        return self.sum(values) / self.sum(torch.ones_like(values))

    def maximum(self, values: Tensor) -> Tensor:
        """[N]: the largest value among the scored responses of each response's group (-inf if none)."""
        kept = torch.where(self.scored, values.double(), -math.inf)
        best = torch.full((self.count,), -math.inf, dtype=torch.float64, device=kept.device)
        return best.scatter_reduce(0, self.index, kept, "amax")[self.index]

    def all_equal(self, values: Tensor | None = None) -> Tensor:
        """[N] bool: whether all scores of the response's group are equal (or there is none).

        Compared by minimum and maximum: the mean of equal floats may differ from them.

        Args:
            values: [N] to compare in place of the scores, e.g. a component; NaN for a response that has none.
                Responses without a score are left out.
        """
        if values is not None:
            return replace(self, rewards=torch.where(self.scored, values.double(), math.nan)).all_equal()
        return self.maximum(self.rewards) <= -self.maximum(-self.rewards)


@dataclass(frozen=True)
class PreferenceBatch:
    """The preference rows of one step. No gradients.

    Rows of one unit are contiguous: a pair is its chosen row followed by its rejected row; a labelled
    single response is a unit of one row.

    Args:
        chosen: [N] bool, True on rows of the aligned distribution D+.
        unit: [N] int64, the unit of each row, numbered from 0.
        lengths: [N] int64, response tokens.
        policy_logps: [N] under the current policy; only for objectives with ``needs_policy_logps``.
        ref_logps: [N] under the reference; only for objectives with ``needs_policy_logps``.
    """

    chosen: Tensor
    unit: Tensor
    lengths: Tensor
    policy_logps: Tensor | None = None
    ref_logps: Tensor | None = None

    @property
    def shares(self) -> Tensor:
        """[N] fp64, the weight of each row in the mean over its own branch: 1/(chosen rows) or 1/(rejected rows)."""
        chosen = self.chosen.double()
        return torch.where(self.chosen, 1.0 / chosen.sum(), 1.0 / (1.0 - chosen).sum())

    @property
    def paired(self) -> bool:
        """Whether every unit is a chosen row followed by a rejected row."""
        if self.chosen.numel() % 2 or not self.chosen.numel():
            return False
        alternating = bool(self.chosen[0::2].all()) and not bool(self.chosen[1::2].any())
        return alternating and bool((self.unit[0::2] == self.unit[1::2]).all())


@dataclass(frozen=True)
class Coefficients:
    """The result of ``Objective.prepare`` for one stream.

    Args:
        rows: named tensors, each [N, ...], which the trainer slices by row into micro-batches.
        active: [N] bool, rows that affect the loss; others may be skipped if the objective allows it.
        metrics: numbers to log once a step.
    """

    rows: Mapping[str, Tensor]
    active: Tensor
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class MicroBatch:
    """Some rows of one stream, with their log-probs. Rows of one unit are never split.

    Args:
        logps: [b, T] log-probs of the tokens under the current policy, with gradient.
        mask: [b, T] bool, True on response tokens.
        ref_logps: [b, T] under the reference, or None.
        old_logps: [b, T] under the policy that sampled the rows, or None.
        rows: the coefficients of these rows, each [b, ...].
    """

    logps: Tensor
    mask: Tensor
    ref_logps: Tensor | None
    old_logps: Tensor | None
    rows: Mapping[str, Tensor]

    @property
    def lengths(self) -> Tensor:
        """[b] int64, response tokens, at least 1, so that they can be divisors."""
        return self.mask.sum(-1).clamp(min=1)

    def tokens(self, values: Tensor) -> Tensor:
        """[b, T] in fp32 or wider: ``values`` on response tokens, 0 elsewhere, even where ``values`` is NaN."""
        return torch.where(self.mask, wide(values), 0.0)

    def log_ratio(self, other: Tensor) -> Tensor:
        """[b, T] in fp32 or wider: ``logps - other`` on response tokens, 0 elsewhere."""
        return self.tokens(wide(self.logps) - wide(other))

    def sequence_sum(self, values: Tensor) -> Tensor:
        """[b] in fp32 or wider: the sum over response tokens."""
        return self.tokens(values).sum(-1)

    def row(self, name: str) -> Tensor:
        """[b, ...]: a coefficient in the precision that the loss is computed in."""
        return self.rows[name].to(wide(self.logps).dtype)


@dataclass(frozen=True)
class ObjectiveOutput:
    """The part of the loss that one micro-batch contributes.

    Args:
        loss: scalar with gradient; the loss of a step is the plain sum over its micro-batches.
        metrics: scalars without gradient that add up over micro-batches as the loss does. They include
            their denominators: a mean over the step is the plain sum of its parts.
        true_value: scalar without gradient, where ``loss`` is a surrogate with the right gradient but
            another value (kldo); adds up as the loss does.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    true_value: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """The objective's value for reports, without gradient."""
        return self.loss.detach() if self.true_value is None else self.true_value


def wide(values: Tensor) -> Tensor:
    """``values`` in fp32, or in fp64 if already fp64: sequence log-probs are never summed in half precision."""
    return values if values.dtype == torch.float64 else values.float()
