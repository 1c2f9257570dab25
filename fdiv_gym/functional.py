"""The losses of fdiv-gym for other training loops: functions from plain tensors to a scalar.

Log-probs are of whole sequences, in nats, shape [B]; responses to one prompt are contiguous.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fdiv_gym.divergences.base import Divergence
from fdiv_gym.errors import ConfigError
from fdiv_gym.objectives.advantages.base import checked_advantages, get_advantage
from fdiv_gym.objectives.base import Objective, Stream, get_objective
from fdiv_gym.objectives.batch import Coefficients, GroupBatch, MicroBatch, PreferenceBatch
from fdiv_gym.registry.guard import boundary, coefficients_of, label_of
from fdiv_gym.registry.lookup import Spec


def group_advantages(rewards: Tensor, group_size: int, advantage: Spec = "group") -> Tensor:
    """Advantages within groups.

    Args:
        rewards: [B]; NaN where a response could not be scored.
        group_size: responses to one prompt.
        advantage: a registered advantage.

    Returns:
        [B] fp64; exactly 0 for unscored responses and in groups whose rewards are all equal.

    Raises:
        ValueError: B is not a multiple of ``group_size``.
    """
    return checked_advantages(get_advantage(advantage), GroupBatch.of_equal_size(rewards, group_size))


def f_grpo_loss(
    logps: Tensor,
    ref_logps: Tensor,
    rewards: Tensor,
    group_size: int,
    divergence: Spec | Divergence = "pearson",
    beta: float = 0.1,
    old_logps: Tensor | None = None,
    gamma: float = 0.0,
    weighting: str = "uniform",
) -> Tensor:
    """The f-GRPO loss (arXiv 2602.05946).

    Args:
        logps: [B] under the current policy, with gradient.
        ref_logps: [B] under the frozen reference.
        rewards: [B]; NaN where a response could not be scored.
        group_size: responses to one prompt, contiguous.
        divergence: a registered name, a table, or a Divergence.
        beta: scale of the implicit reward.
        old_logps: [B] under the sampling policy; needed for ``gamma > 0`` and for softmax weights.
        gamma: weight of the proximal term.
        weighting: ``uniform``, ``softmax`` or ``length_normalised``. The last two are equal here, because
            a log-prob for each response does not include the number of its tokens.

    Returns:
        Scalar; call ``backward`` on it.

    Raises:
        ValueError: shapes disagree, or ``old_logps`` is needed and missing.
    """
    _check_shapes(logps=logps, ref_logps=ref_logps, rewards=rewards, old_logps=old_logps)
    _check_old(old_logps, gamma, weighting)
    options: dict[str, Any] = {"divergence": divergence, "beta": beta, "gamma": gamma, "weighting": weighting}
    objective = get_objective("f-grpo", **options)
    groups = GroupBatch.of_equal_size(rewards, group_size, old_logps)
    return rollout_loss(objective, groups, logps, ref_logps, old_logps)


def fdo_loss(
    chosen_logps: Tensor,
    ref_chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_rejected_logps: Tensor,
    divergence: Spec | Divergence = "jensen_shannon",
    beta: float = 0.1,
) -> Tensor:
    """The FDO loss on preference data (arXiv 2502.00657): -mean g(v) on chosen + mean f*(g(v)) on rejected.

    Each side has its own denominator; C and R may differ.

    Args:
        chosen_logps: [C] under the current policy, with gradient.
        ref_chosen_logps: [C] under the frozen reference.
        rejected_logps: [R] under the current policy, with gradient.
        ref_rejected_logps: [R] under the frozen reference.
        divergence: a registered name, a table, or a Divergence.
        beta: scale of the implicit reward.

    Returns:
        Scalar; call ``backward`` on it.

    Raises:
        ValueError: shapes disagree.
    """
    objective = get_objective("fdo", divergence=divergence, beta=beta)
    _check_shapes(chosen_logps=chosen_logps, ref_chosen_logps=ref_chosen_logps)
    _check_shapes(rejected_logps=rejected_logps, ref_rejected_logps=ref_rejected_logps)
    return preference_loss(objective, chosen_logps, ref_chosen_logps, rejected_logps, ref_rejected_logps)


def f_hal_loss(
    logps: Tensor,
    ref_logps: Tensor,
    rewards: Tensor,
    group_size: int,
    chosen_logps: Tensor,
    ref_chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_rejected_logps: Tensor,
    divergence: Spec | Divergence = "jensen_shannon",
    beta: float = 0.1,
    lam: float = 0.5,
    old_logps: Tensor | None = None,
    gamma: float = 0.0,
    weighting: str = "uniform",
) -> Tensor:
    """The f-HAL loss (arXiv 2602.05946): lam FDO on the preferences + (1 - lam) f-GRPO on the rollouts.

    Args:
        logps: [B] of the rollouts under the current policy, with gradient.
        ref_logps: [B] under the frozen reference.
        rewards: [B]; NaN where a response could not be scored.
        group_size: responses to one prompt, contiguous.
        chosen_logps: [C] of chosen responses under the current policy, with gradient.
        ref_chosen_logps: [C] under the frozen reference.
        rejected_logps: [R] of rejected responses under the current policy, with gradient.
        ref_rejected_logps: [R] under the frozen reference.
        divergence: a registered name, a table, or a Divergence.
        beta: scale of the implicit reward.
        lam: weight of the preferences; 0 is ``f_grpo_loss`` and 1 is ``fdo_loss``, exactly.
        old_logps: [B] under the sampling policy; needed for ``gamma > 0`` and for softmax weights.
        gamma: weight of the proximal term on the rollouts.
        weighting: importance weights of the rollouts, as in ``f_grpo_loss``.

    Returns:
        Scalar; call ``backward`` on it.

    Raises:
        ValueError: shapes disagree, or ``old_logps`` is needed and missing.
    """
    _check_shapes(logps=logps, ref_logps=ref_logps, rewards=rewards, old_logps=old_logps)
    _check_shapes(chosen_logps=chosen_logps, ref_chosen_logps=ref_chosen_logps)
    _check_shapes(rejected_logps=rejected_logps, ref_rejected_logps=ref_rejected_logps)
    _check_old(old_logps, gamma, weighting)
    options: dict[str, Any] = {"divergence": divergence, "beta": beta, "gamma": gamma, "weighting": weighting}
    objective = get_objective("f-hal", lam=lam, **options)
    groups = GroupBatch.of_equal_size(rewards, group_size, old_logps)
    preferences, batch = _preference_rows(chosen_logps, ref_chosen_logps, rejected_logps, ref_rejected_logps)
    prepared = coefficients_of(objective, groups, preferences)
    batches = {"rollouts": sequence_batch(logps, ref_logps, old_logps, {}), "preferences": batch}
    return _total(objective, prepared, batches)


def rollout_loss(
    objective: Objective,
    groups: GroupBatch,
    logps: Tensor,
    ref_logps: Tensor | None = None,
    old_logps: Tensor | None = None,
) -> Tensor:
    """Any on-policy objective on sequence log-probs [B]: ``prepare`` on the groups, ``loss`` on one micro-batch."""
    prepared = coefficients_of(objective, groups, None)
    return _total(objective, prepared, {"rollouts": sequence_batch(logps, ref_logps, old_logps, {})})


def preference_loss(
    objective: Objective,
    chosen_logps: Tensor,
    ref_chosen_logps: Tensor,
    rejected_logps: Tensor,
    ref_rejected_logps: Tensor,
) -> Tensor:
    """Any objective on preferences, on sequence log-probs [C] and [R]; the i-th chosen and rejected are a pair.

    Raises:
        ConfigError: the objective keeps a statistic that runs over steps, which one loss cannot move.
    """
    if objective.running:
        raise ConfigError(
            f"{label_of(objective)} keeps a statistic that runs over steps: call its prepare, loss and, after each "
            "optimizer step, observe"
        )
    preferences, batch = _preference_rows(chosen_logps, ref_chosen_logps, rejected_logps, ref_rejected_logps)
    return _total(objective, coefficients_of(objective, None, preferences), {"preferences": batch})


def sequence_batch(
    logps: Tensor, ref_logps: Tensor | None, old_logps: Tensor | None, rows: Mapping[str, Tensor]
) -> MicroBatch:
    """A micro-batch of one-token rows from sequence log-probs [B]."""

    def column(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.unsqueeze(-1)

    mask = torch.ones(logps.numel(), 1, dtype=torch.bool, device=logps.device)
    return MicroBatch(logps.unsqueeze(-1), mask, column(ref_logps), column(old_logps), rows)


def _total(objective: Objective, prepared: Mapping[Stream, Coefficients], batches: Mapping[str, MicroBatch]) -> Tensor:
    outputs = []
    for stream, coefficients in prepared.items():
        with boundary(objective, "loss"):
            outputs.append(objective.loss(stream, dataclasses.replace(batches[stream], rows=coefficients.rows)))
    # The gradient of the surrogate with the value of the objective; they differ for kldo only.
    return torch.stack([o.loss + (o.value - o.loss).detach() for o in outputs]).sum()


def _preference_rows(
    chosen: Tensor, ref_chosen: Tensor, rejected: Tensor, ref_rejected: Tensor
) -> tuple[PreferenceBatch, MicroBatch]:
    """Rows in the order chosen, rejected, chosen, ...; then the rest of the longer side."""
    c, r, device = chosen.numel(), rejected.numel(), chosen.device
    unit = torch.cat([torch.arange(c, device=device), torch.arange(r, device=device)])
    is_chosen = torch.arange(c + r, device=device) < c
    order = torch.argsort(2 * unit + ~is_chosen, stable=True)
    logps = torch.cat([chosen, rejected])[order]
    ref_logps = torch.cat([ref_chosen, ref_rejected])[order]
    preferences = PreferenceBatch(
        chosen=is_chosen[order],
        unit=unit[order],
        lengths=torch.ones_like(unit),
        policy_logps=logps.detach().double(),
        ref_logps=ref_logps.detach().double(),
    )
    return preferences, sequence_batch(logps, ref_logps, None, {})


def _check_old(old_logps: Tensor | None, gamma: float, weighting: str) -> None:
    if old_logps is None and (gamma > 0 or weighting != "uniform"):
        raise ValueError("gamma > 0 and softmax weights need old_logps")


def _check_shapes(**tensors: Tensor | None) -> None:
    shapes = {name: tuple(t.shape) for name, t in tensors.items() if t is not None}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"expected tensors of one shape [B], got {shapes}")
