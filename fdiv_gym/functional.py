"""The losses of fdiv-gym for somebody else's training loop: plain tensors in, a scalar out.

Log-probs are of whole sequences, in nats, shape [B]; responses to one prompt are contiguous.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fdiv_gym.catalogue import Spec, get_advantage, get_objective
from fdiv_gym.divergences.base import Divergence
from fdiv_gym.objectives.base import Objective
from fdiv_gym.objectives.batch import Groups, MicroBatch


def group_advantages(rewards: Tensor, group_size: int, advantage: Spec = "group") -> Tensor:
    """Advantages within groups.

    Args:
        rewards: [B]; NaN where a response could not be scored.
        group_size: responses to one prompt.
        advantage: a registered advantage.

    Returns:
        [B] fp64; exactly 0 for unscored responses and in groups whose rewards are all equal.

    Raises:
        ValueError: B is no multiple of ``group_size``.
    """
    return get_advantage(advantage).compute(Groups.of_equal_size(rewards, group_size))


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
        weighting: ``uniform``, ``softmax`` or ``length_normalised``.

    Returns:
        Scalar; call ``backward`` on it.

    Raises:
        ValueError: shapes disagree, or ``old_logps`` is needed and missing.
    """
    _check_shapes(logps=logps, ref_logps=ref_logps, rewards=rewards, old_logps=old_logps)
    if old_logps is None and (gamma > 0 or weighting != "uniform"):
        raise ValueError("gamma > 0 and softmax weights need old_logps")
    options: dict[str, Any] = {"divergence": divergence, "beta": beta, "gamma": gamma, "weighting": weighting}
    objective = get_objective("f-grpo", **options)
    groups = Groups.of_equal_size(rewards, group_size, old_logps)
    return rollout_loss(objective, groups, logps, ref_logps, old_logps)


def rollout_loss(
    objective: Objective,
    groups: Groups,
    logps: Tensor,
    ref_logps: Tensor | None = None,
    old_logps: Tensor | None = None,
) -> Tensor:
    """Any on-policy objective on sequence log-probs [B]: prepare on the groups, then one big micro-batch."""
    coefficients = objective.prepare(groups, None)["rollouts"]
    return objective.loss("rollouts", sequence_batch(logps, ref_logps, old_logps, coefficients.rows)).loss


def sequence_batch(logps: Tensor, ref_logps: Tensor | None, old_logps: Tensor | None, rows: Any) -> MicroBatch:
    """A micro-batch of one-token rows from sequence log-probs [B]."""

    def column(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.unsqueeze(-1)

    mask = torch.ones(logps.numel(), 1, dtype=torch.bool, device=logps.device)
    return MicroBatch(logps.unsqueeze(-1), mask, column(ref_logps), column(old_logps), rows)


def _check_shapes(**tensors: Tensor | None) -> None:
    shapes = {name: tuple(t.shape) for name, t in tensors.items() if t is not None}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"expected tensors of one shape [B], got {shapes}")
