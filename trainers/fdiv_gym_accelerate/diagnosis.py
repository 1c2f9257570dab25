"""Which fault explains the engine's log-probs: forward passes on a few rows, made only after a gap was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fdiv_gym_accelerate import causes
from fdiv_gym_accelerate.causes import Cause
from fdiv_gym_accelerate.gap import Bound, Gap
from fdiv_gym_accelerate.policy import Padded, Row, separated, token_logits
from fdiv_gym_accelerate.streams import StreamBatch
from fdiv_gym_accelerate.update import Updater

ROWS = 32
"""Responses that are looked at, those with the largest differences."""
LEAST = 0.1
"""Share of the largest difference that such a response has at least: a fault may concern a part of the batch."""
TOKENS = 24
"""Tokens of each, its first; the logits of all of them are held at once."""
PROMPTS = 32
"""Prompts of the batch that a response is scored after."""
RESPONSES = 8
"""Responses that are scored after other prompts."""
PASS = 8
"""Rows of one forward pass."""
SHARE, ROUNDING_SHARE = 0.05, 0.3
"""What an explanation may leave of the gap: the first share of it, or the bound, but not more than the second share."""


@dataclass(frozen=True)
class Suspects:
    """Rows with the largest gaps, cut to their first response tokens.

    Args:
        rows: their places in the stream.
        padded: with the engine's log-probs.
        policy: [n, T-1] log-probs under the policy.
    """

    rows: list[int]
    padded: Padded
    policy: Tensor

    @property
    def engine(self) -> Tensor:
        """[n, T-1] log-probs that the engine returned."""
        assert self.padded.old_logps is not None
        return self.padded.old_logps

    def tokens(self, values: Tensor) -> Tensor:
        """The values at the response tokens, as one vector."""
        return values[self.padded.mask]


def likely_cause(updater: Updater, stream: StreamBatch, bound: Bound) -> Cause | None:
    """The explanation that leaves the least of this process's gap; None if none leaves little enough.

    No collective operation: the processes find different causes, or none.
    """
    engine, mask, policy = stream.padded.old_logps, stream.padded.mask, updater.token_logps(stream)
    assert engine is not None
    if not Gap.of(policy, engine, mask).exceeds(bound):
        return None  # it is another process's
    gaps = torch.where(mask, (policy - engine).abs(), 0.0)
    suspects = suspects_of(stream, policy, gaps)
    p, q = suspects.tokens(suspects.policy), suspects.tokens(suspects.engine)
    if not p.numel() or not bool(torch.isfinite(p).all()):
        return None
    if not Gap.of(p, q, torch.ones_like(p, dtype=torch.bool)).exceeds(bound):
        return None  # the fault is in another process, or beyond these tokens: here everything explains everything
    logits = response_logits(updater, suspects.padded)
    chosen = suspects.padded.ids[:, 1:][suspects.padded.mask]
    places = [(i, place) for i in range(len(mask)) for place in responses_of(mask[i])]
    of_responses = [[values[i, place] for i, place in places] for values in (policy, engine)]
    looked_at = [k for row in suspects.rows for k, (i, _) in enumerate(places) if i == row]
    in_rows = [[values[k] for k in looked_at] for values in of_responses]
    found = [
        causes.constant(p, q),
        causes.factor(p, q),
        causes.temperature(logits, chosen, q, updater.temperature),
        causes.truncation(logits / updater.temperature, chosen, q),
        causes.shifted(*in_rows),
        causes.reordered(of_responses[0], of_responses[1], looked_at),
        fitting_prompts(updater, stream, suspects.rows[:RESPONSES]),
    ]
    if stream.ref_logps is not None:
        reference = torch.cat([stream.ref_logps[i][mask[i]] for i in suspects.rows])
        found.append(causes.initial_weights(reference, torch.cat(in_rows[1])))
    best = min(found, key=lambda cause: cause.remaining)
    gap = causes.distance(p, q)
    limit = max(SHARE * gap, min(bound.mean, ROUNDING_SHARE * gap))
    again = causes.another_pass(logits / updater.temperature, chosen, q)
    if again.remaining <= limit:  # then the explanations from these logits hold as well, and mean nothing
        return again
    return best if best.remaining <= limit else None


def responses_of(mask: Tensor) -> list[slice]:
    """Where the responses of a trajectory stand: the runs of its sampled tokens; ``mask`` [T-1]."""
    edges = mask.int().diff(prepend=mask.new_zeros(1).int(), append=mask.new_zeros(1).int())
    begins, ends = (edges == 1).nonzero().flatten().tolist(), (edges == -1).nonzero().flatten().tolist()
    return [slice(begin, end) for begin, end in zip(begins, ends, strict=True)]


def suspects_of(stream: StreamBatch, policy: Tensor, gaps: Tensor) -> Suspects:
    """The rows with the largest gap of a token; ``policy`` and ``gaps`` [N, T-1]."""
    largest = torch.where(stream.padded.mask, gaps, -1.0).amax(-1)  # -1 for a row without a response token
    rows = largest.argsort(descending=True, stable=True)
    rows = rows[largest[rows] >= max(LEAST * float(largest.max()), 0.0)][:ROWS]
    mask = stream.padded.mask[rows]
    mask = mask & (mask.cumsum(-1) <= TOKENS)
    places = mask.any(0).nonzero()
    width = int(places.max()) + 2 if len(places) else 1
    padded = stream.padded.rows(rows)
    cut = replace(padded, mask=mask).trimmed(width, padded.ids.device)
    return Suspects(rows.tolist(), cut, policy[rows, : width - 1])


@torch.no_grad()
def response_logits(updater: Updater, padded: Padded) -> Tensor:
    """[n, V] fp32 logits before tempering at the response tokens, on the CPU."""
    parts = []
    for start in range(0, len(padded.ids), PASS):
        rows = padded.rows(torch.arange(start, min(start + PASS, len(padded.ids))))
        part = separated(rows.trimmed(rows.ids.shape[1], updater.accelerator.device))
        with updater.accelerator.autocast():
            logits = token_logits(updater.model, part)
        parts.append(logits[part.mask].float().cpu())
    return torch.cat(parts)


def fitting_prompts(updater: Updater, stream: StreamBatch, rows: Sequence[int]) -> Cause:
    """How well the responses fit the other prompts of the batch."""
    prompts = list(dict.fromkeys(prompt_of(stream.padded, i) for i in range(len(stream.padded.ids))))
    own = [prompts.index(prompt_of(stream.padded, i)) for i in rows]
    candidates = list(dict.fromkeys([*own, *range(min(PROMPTS, len(prompts)))]))
    gaps = torch.full((len(rows), len(prompts)), math.inf)
    for place, row in enumerate(rows):
        response, logps = first_response(stream.padded, row)
        for start in range(0, len(candidates), PASS):
            part = candidates[start : start + PASS]
            batch = [Row([*prompts[j], *response], [False] * len(prompts[j]) + [True] * len(response)) for j in part]
            gaps[place, part] = response_gaps(updater, batch, logps)
    return causes.other_prompts(gaps, own)


@torch.no_grad()
def response_gaps(updater: Updater, rows: Sequence[Row], engine: Tensor) -> Tensor:
    """[b] mean difference of rows with the same response from the engine's log-probs of it."""
    scored = StreamBatch.of(rows, [[i] for i in range(len(rows))], 0)
    policy = updater.token_logps(scored)
    means = [(values[mask] - engine).abs().mean() for values, mask in zip(policy, scored.padded.mask, strict=True)]
    return torch.stack(means).nan_to_num(nan=math.inf)


def prompt_of(padded: Padded, row: int) -> tuple[int, ...]:
    """The tokens before the first response token."""
    start = int(padded.mask[row].int().argmax()) + 1
    return tuple(padded.ids[row, :start].tolist())


def first_response(padded: Padded, row: int) -> tuple[list[int], Tensor]:
    """The first tokens of the first response, and the engine's log-probs of them."""
    assert padded.old_logps is not None
    start = len(prompt_of(padded, row))
    mask = padded.mask[row, start - 1 : start - 1 + TOKENS]
    length = int(mask.int().cumprod(-1).sum())
    return padded.ids[row, start : start + length].tolist(), padded.old_logps[row, start - 1 : start - 1 + length]
