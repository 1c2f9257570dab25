"""Drift of the policy from its reference: log-ratios on preference data, and divergences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils import gather_object

import fdiv_gym as fg
from fdiv_gym.data import PreferenceRow
from fdiv_gym.registry import boundary, completions_of
from fdiv_gym.types import Sampling
from fdiv_gym_accelerate.policy import Row
from fdiv_gym_accelerate.sources import preference_stream
from fdiv_gym_accelerate.streams import StreamBatch, rollout_stream
from fdiv_gym_accelerate.update import Updater


def preference_drift(
    updater: Updater, units: Sequence[Sequence[PreferenceRow]], pad_token: int, process: int, processes: int
) -> dict[str, float]:
    """Mean log-ratio of policy to reference on the chosen and on the rejected responses, in nats.

    Returns:
        ``drift/chosen``, ``drift/rejected``, and ``preference/accuracy``, the share of pairs whose chosen response
        has the larger log-ratio (a tie counts half); nothing without units or reference.
    """
    if updater.reference is None or not units:
        return {}
    local: list[dict[str, float]] = []
    own = units[process::processes]
    if own:
        stream, chosen = preference_stream(own, pad_token)
        ratios = (updater.policy_logps(stream) - updater.reference_logps(stream)).tolist()
        for rows in stream.units:
            local.append({"chosen" if chosen[i] else "rejected": ratios[i] for i in rows})
    gathered: list[dict[str, float]] = gather_object(local)
    line = {}
    for side in ("chosen", "rejected"):
        values = [unit[side] for unit in gathered if side in unit]
        if values:
            line[f"drift/{side}"] = sum(values) / len(values)
    margins = [unit["chosen"] - unit["rejected"] for unit in gathered if len(unit) == 2]
    if margins:
        line["preference/accuracy"] = sum(0.5 + 0.5 * ((m > 0) - (m < 0)) for m in margins) / len(margins)
    return line


def divergences(updater: Updater, stream: StreamBatch | None) -> dict[str, float]:
    """Estimate of D_f(policy || reference) for every registered divergence, from samples of the policy.

    Args:
        updater: holds the reference.
        stream: this process's samples with the log-probs they were drawn with, or None.

    Returns:
        ``divergence/<name>`` and ``divergence_error/<name>`` (standard error); nothing without reference.
        A heavy-tailed estimate may be infinite; it is written unchanged.
    """
    if updater.reference is None or not updater.reference.any_rows:
        return {}
    local: list[float] = []
    if stream is not None:
        old = stream.sequence_sum(stream.padded.old_logps)
        assert old is not None
        local = (old - updater.reference_logps(stream)).tolist()
    ratios = torch.tensor(gather_object(local), dtype=torch.float64)
    if not len(ratios):
        return {}
    line = {}
    for entry in fg.list_entries("divergence"):
        if entry.status == "ok":
            divergence = fg.get_divergence(entry.name)
            with boundary(divergence, "estimate"):
                value, error = divergence.estimate(ratios)
            line[f"divergence/{entry.name}"], line[f"divergence_error/{entry.name}"] = value, error
    return line


def sampled_groups(groups: Sequence[fg.TrajectoryGroup], pad_token: int) -> StreamBatch | None:
    """The stream of an evaluation's sampled trajectories."""
    return rollout_stream(groups, pad_token) if groups else None


def sampled_prompts(
    engine: fg.Engine, units: Sequence[Sequence[PreferenceRow]], samples: int, sampling: Sampling, pad_token: int
) -> StreamBatch | None:
    """Fresh responses to the prompts of preference units, for runs without an environment."""
    prompts = [list(ids) for ids in dict.fromkeys(unit[0].prompt_ids for unit in units)]
    if not prompts:
        return None
    rows: list[Any] = []
    for prompt, completions in zip(prompts, completions_of(engine, prompts, samples, sampling), strict=True):
        for completion in completions:
            mask = [False] * len(prompt) + [True] * len(completion.token_ids)
            rows.append(Row([*prompt, *completion.token_ids], mask, [0.0] * len(prompt) + list(completion.logprobs)))
    return StreamBatch.of(rows, [[i] for i in range(len(rows))], pad_token)
