"""The metrics of a step, as metrics.jsonl holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

import fdiv_gym as fg
from fdiv_gym.envs import active_curriculum
from fdiv_gym.objectives import Stream
from fdiv_gym.registry import boundary, state_of
from fdiv_gym.rollouts import episode_metrics, is_masked
from fdiv_gym_accelerate.streams import StreamBatch
from fdiv_gym_accelerate.update import Gradients


def rollout_line(groups: Sequence[fg.TrajectoryGroup]) -> dict[str, float]:
    """Rewards, all-equal groups, unscored and masked responses, lengths and entropy of this process's rollouts."""
    scores = [[r for r in group.rewards if r is not None] for group in groups]
    flat = [r for group in scores for r in group]
    count = sum(len(group.trajectories) for group in groups)
    trajectories = [t for group in groups for t in group.trajectories]
    masked = sum(is_masked(t.verdict) for t in trajectories)
    line = {
        "reward/mean": sum(flat) / len(flat) if flat else math.nan,
        "groups/all_equal": sum(1 for s in scores if not s or min(s) == max(s)) / len(groups),
        "verdicts/unscored": (count - len(flat) - masked) / count,
        "verdicts/masked": masked / count,
        "verdicts/timeout": sum(t.verdict is not None and t.verdict.status == "timeout" for t in trajectories) / count,
        "response/tokens": sum(t.response_length for t in trajectories) / count,
        "response/cut_off": sum(t.stop_reason == "length" for t in trajectories) / count,
    }
    tokens = sum(t.response_length for t in trajectories)
    if tokens:
        line["response/entropy"] = -sum(t.logprob for t in trajectories) / tokens
    for name in sorted({n for t in trajectories if t.verdict for n in t.verdict.components}):
        parts = [t.verdict.components[name] for t in trajectories if t.verdict and name in t.verdict.components]
        line[f"component/{name}"] = sum(parts) / len(parts)
    return line


def episode_line(env: fg.Environment, groups: Sequence[fg.TrajectoryGroup]) -> dict[str, float]:
    """Turns, truncations, the environment's tokens and outcomes of this process's conversations."""
    trajectories = [t for group in groups for t in group.trajectories if t.transcript is not None]
    transcripts = [t.transcript for t in trajectories if t.transcript is not None]
    return episode_metrics(env, transcripts, [t.environment_tokens for t in trajectories])


def curriculum_line(env: fg.Environment | None) -> dict[str, float]:
    """The state of the environment's curriculum: its top-level numbers."""
    curriculum = active_curriculum(env)
    state = {} if curriculum is None else state_of(curriculum)
    numbers = {name: value for name, value in state.items() if type(value) in (int, float)}
    return {f"curriculum/{name}": float(value) for name, value in numbers.items()}


def gradient_line(
    gradients: Gradients, norm: float, coefficients: Mapping[Stream, fg.Coefficients]
) -> dict[str, float]:
    """Loss, norms of the gradient, and the metrics of the objective."""
    line = {"loss": gradients.loss, "grad_norm": norm}
    if len(gradients.stream_losses) > 1:
        line |= {f"loss/{name}": value for name, value in gradients.stream_losses.items()}
        line |= {f"grad_norm/{name}": value for name, value in gradients.stream_norms.items()}
    if gradients.entropy.get("tokens"):
        line["policy/entropy"] = gradients.entropy["nats"] / gradients.entropy["tokens"]
    line |= gradients.metrics
    for coefficient in coefficients.values():
        line |= coefficient.metrics
    return line


def time_line(groups: Sequence[fg.TrajectoryGroup], seconds: float, rollout_seconds: float) -> dict[str, float]:
    """Seconds of a step and of its rollouts, and response tokens a second of this process, judging included."""
    tokens = sum(t.response_length for group in groups for t in group.trajectories)
    return {
        "time/seconds": seconds,
        "time/rollout_seconds": rollout_seconds,
        "time/tokens_per_second": tokens / max(rollout_seconds, 1e-9),
    }


def divergence_line(objective: fg.Objective, stream: StreamBatch) -> dict[str, float]:
    """Estimate of the divergence of policy from reference, from the rollouts' own log-ratios.

    It is the objective's own divergence, or kl where the objective has none; absent without a reference.
    """
    ref, old = stream.sequence_sum(stream.ref_logps), stream.sequence_sum(stream.old_logps)
    if ref is None or old is None:
        return {}
    divergence = getattr(objective, "divergence", None)
    if not isinstance(divergence, fg.Divergence):
        divergence = fg.get_divergence("kl")
    with boundary(divergence, "estimate"):
        value, error = (float(x) for x in divergence.estimate(old - ref))
    beta = getattr(objective.options, "beta", 1.0)
    with boundary(divergence, "share_beyond_guard"):
        beyond = float(divergence.share_beyond_guard(torch.as_tensor(beta) * (old - ref)))
    return {
        "divergence/estimate": value,
        "divergence/standard_error": error,
        "divergence/beyond_guard": beyond,
        "divergence/log_ratio": float((old - ref).sum()) / max(int(stream.lengths.sum()), 1),
    }


def check_unscored(step: int, unscored: float, limit: float, groups: Sequence[fg.TrajectoryGroup]) -> None:
    """Stop the run if too many responses have no score.

    Args:
        step: the optimizer step.
        unscored: share of this process's responses without a score.
        limit: the largest share that is allowed.
        groups: the judged responses; the message quotes the reason of the first without a score.

    Raises:
        TrainerError: the share is above the limit.
    """
    if unscored > limit:
        raise fg.TrainerError(
            f"step {step}: {unscored:.0%} of the responses have no score "
            f"(trainer.max_unscored = {limit}): {_first_detail(groups)}"
        )


def _first_detail(groups: Sequence[fg.TrajectoryGroup]) -> str:
    for group in groups:
        for trajectory in group.trajectories:
            verdict = trajectory.verdict
            if verdict is not None and verdict.score is None and not is_masked(verdict):
                return f"{verdict.status}: {verdict.detail}"
    return "no detail"


def counts_line(counts: Mapping[str, int]) -> str:
    """Counts of a data set on one line, without zeros."""
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in counts.items() if value)
