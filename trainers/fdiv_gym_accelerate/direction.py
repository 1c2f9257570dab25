"""Which way the reward pushes the responses: the sign of an objective, from its loss alone, without a forward pass."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.registry import coefficients_of, output_of
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.streams import StreamBatch


def reward_direction(objective: fg.Objective, rows: StepRows, rows_at_a_time: int) -> tuple[float, float]:
    """How strongly the reward moves this process's responses, and how much of that is the right way.

    The derivative of the loss by a response's log-probs, at the sampling policy, is the first-order effect of a
    descent step on them. A penalty or a preference stream adds to it whatever the reward is. So the loss is evaluated
    again with every reward reflected in its group, R to min + max - R, and the difference is what the reward does.

    Args:
        objective: its coefficients and its loss are evaluated twice.
        rows: the step's rows, with the reference's log-probs; every process must call this with its own.
        rows_at_a_time: in one micro-batch.

    Returns:
        The sum over responses of the difference of the two effects, counted positive where a response above its
        group's mean is raised or one below lowered; and the sum of the absolute values. (0, 0) if no group is mixed.
    """
    stream = rows.streams["rollouts"]
    at_sampling = replace(
        stream, policy_logps=stream.sequence_sum(stream.old_logps), policy_tokens=stream.old_logps,
        advantages=None, estimator=None,
    )  # fmt: skip
    streams = {**rows.streams, "rollouts": at_sampling}
    if "preferences" in streams and streams["preferences"].policy_logps is None:
        held = streams["preferences"]
        streams["preferences"] = replace(held, policy_logps=held.sequence_sum(held.ref_logps))
    gathered = replace(rows, streams=streams).gathered()
    groups, own = gathered.groups, gathered.own["rollouts"]
    assert groups is not None
    if bool(groups.all_equal().all()):
        return 0.0, 0.0
    effects = []
    for seen in (groups, replace(groups, rewards=reflected(groups))):
        coefficients = coefficients_of(objective, seen, gathered.preferences)["rollouts"]
        effects.append(_effects(objective, at_sampling, coefficients, own, rows_at_a_time))
    by_reward = effects[0] - effects[1]
    above = torch.nan_to_num(groups.rewards - groups.mean(groups.rewards))[own].sign()
    by_reward = torch.where(groups.all_equal()[own] | ~by_reward.isfinite(), 0.0, by_reward)
    return float((by_reward * above).sum()), float(by_reward.abs().sum())


def reflected(groups: fg.GroupBatch) -> Tensor:
    """[N] fp64: each reward R of a group as min + max - R; NaN stays NaN."""
    ends = groups.maximum(groups.rewards) - groups.maximum(-groups.rewards)
    return ends - groups.rewards


def _effects(
    objective: fg.Objective, stream: StreamBatch, coefficients: fg.Coefficients, own: slice, rows_at_a_time: int
) -> Tensor:
    """[N] fp64: minus the derivative of the loss by each response's log-probs."""
    rows = {key: value[own] for key, value in coefficients.rows.items()}
    keep = coefficients.active[own] if objective.skips_inactive else None
    effects = torch.zeros(len(stream.lengths), dtype=torch.float64)
    for index in stream.slices(rows_at_a_time, keep):
        padded, ref = stream.take(index, torch.device("cpu"))
        assert padded.old_logps is not None
        logps = padded.old_logps.detach().clone().requires_grad_()
        batch = fg.MicroBatch(logps, padded.mask, ref, padded.old_logps, {k: v[index] for k, v in rows.items()})
        loss = output_of(objective, "rollouts", batch).loss
        if loss.requires_grad:
            (slope,) = torch.autograd.grad(loss, logps, allow_unused=True)
            if slope is not None:
                effects[index] = -torch.where(padded.mask, slope.double(), 0.0).sum(-1)
    return effects
