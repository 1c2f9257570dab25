"""Likely causes of a gap between engine and policy: what would explain the engine's log-probs, and how well.

Every function states what the engine's log-probs would be under one fault and returns how far they remain from those
that it returned, in nats a token. Vectors q and p hold the log-probs of the same tokens: the engine's, the policy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LOG_BASES = {1 / math.log(2): "base 2", 1 / math.log(10): "base 10"}


@dataclass(frozen=True)
class Cause:
    """One explanation.

    Args:
        name: short, for records.
        finding: what the engine's log-probs are, in words.
        advice: what to do.
        remaining: mean difference of a token from the engine's log-prob under this explanation, in nats.
    """

    name: str
    finding: str
    advice: str
    remaining: float


def distance(expected: Tensor, q: Tensor) -> float:
    """Mean absolute difference, in nats; infinite without tokens or where a token is impossible."""
    value = float((expected.double() - q.double()).abs().mean()) if q.numel() else math.inf
    return value if math.isfinite(value) else math.inf


def another_pass(logits: Tensor, chosen: Tensor, q: Tensor) -> Cause:
    """They are the policy's in another forward pass of the same tokens; tempered logits [n, V], tokens [n]."""
    return Cause(
        "unstable", "the policy's own log-probs differ between two forward passes, and one of them has the engine's",
        "turn off what is random in the model's forward pass, or what depends on the other rows of a batch",
        distance(torch.log_softmax(logits, -1).gather(-1, chosen[:, None])[:, 0], q),
    )  # fmt: skip


def constant(p: Tensor, q: Tensor) -> Cause:
    """All log-probs are off by the same number."""
    offset = float((q - p).double().median())
    return Cause(
        "constant", f"they are off by a constant of {offset:+.3g}",
        "let the engine return log-probs, normalised over the vocabulary", distance(p + offset, q),
    )  # fmt: skip


def factor(p: Tensor, q: Tensor) -> Cause:
    """All log-probs are multiplied by the same number: a logarithm of another base."""
    value = float((p.double() * q.double()).sum() / p.double().square().sum().clamp(min=1e-30))
    if not q.any():
        return Cause("base", "they are all 0", "let the engine return the log-prob of each sampled token", 0.0)
    base = next((name for ratio, name in LOG_BASES.items() if abs(value / ratio - 1) < 0.01), "")
    return Cause(
        "base", f"they are {value:.3g} times the policy's{base and f', logarithms to {base}'}",
        "let the engine return natural logarithms", distance(value * p, q),
    )  # fmt: skip


def temperature(logits: Tensor, chosen: Tensor, q: Tensor, configured: float) -> Cause:
    """They belong to another temperature; logits [n, V] before tempering, chosen [n] the tokens."""

    def expected(log_temperature: float) -> Tensor:
        return torch.log_softmax(logits / math.exp(log_temperature), -1).gather(-1, chosen[:, None])[:, 0]

    def remaining(log_temperature: float) -> float:
        return distance(expected(log_temperature), q)

    grid = [math.log(0.1) + i * math.log(100) / 46 for i in range(47)]
    best = min(grid, key=remaining)
    fitted = math.exp(minimum(remaining, best - math.log(100) / 46, best + math.log(100) / 46))
    raw = abs(fitted - 1) < 0.01 and configured != 1
    return Cause(
        "temperature", f"they are those at temperature {fitted:.3g}, and engine.temperature is {configured:g}",
        "let the engine return the log-probs after temperature (vLLM: logprobs_mode = 'processed_logprobs')" if raw else
        "let the engine sample at the temperature of its Sampling, and return the log-probs at that temperature",
        remaining(math.log(fitted)),
    )  # fmt: skip


def minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """The place of the minimum in an interval, by the golden section."""
    ratio = (math.sqrt(5) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = function(a), function(b)
    for _ in range(30):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = function(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = function(b)
    return (low + high) / 2


def truncation(logits: Tensor, chosen: Tensor, q: Tensor) -> Cause:
    """They are renormalised over the most likely tokens; tempered logits [n, V].

    The token with the largest difference shows the least mass that was kept. That mass is the candidate for top_p,
    and the number of tokens in it the candidate for top_k.
    """
    logps = torch.log_softmax(logits.double(), -1)
    ordered = logps.sort(dim=-1, descending=True).values
    mass = ordered.exp().cumsum(-1)
    p = logps.gather(-1, chosen[:, None])[:, 0]
    kept = (p - q.double()).exp().clamp(max=1.0)
    least = int(kept.argmin())
    count = int((mass[least] - kept[least]).abs().argmin()) + 1
    top_p = float(kept[least])
    # The smallest set whose mass reaches top_p; slightly less, since that mass itself is rounded.
    sizes = (mass < top_p - 1e-4).sum(-1).clamp(max=mass.shape[-1] - 1)
    by_p = p - mass.gather(-1, sizes[:, None])[:, 0].log()
    by_k = p - mass[:, count - 1].log()
    at_p, at_k = distance(by_p, q), distance(by_k, q)
    option = f"top_k = {count}" if at_k <= at_p else f"top_p of at most {top_p:.3g}"
    return Cause(
        "truncation", f"they are renormalised over the most likely tokens, {option}",
        "sample from the whole distribution, or correct for it by trainer.correction", min(at_p, at_k),
    )  # fmt: skip


def shifted(p: Sequence[Tensor], q: Sequence[Tensor]) -> Cause:
    """Each token has the log-prob of its neighbour; one vector for each response."""
    pairs = [(now, given) for now, given in zip(p, q, strict=True) if len(now) > 2]
    advice = "let the engine return the log-prob of token t at place t"
    best = Cause("shifted", "", advice, math.inf)
    for by, words in ((1, "the next token"), (-1, "the token before")):
        expected = [now[1:] if by > 0 else now[:-1] for now, _ in pairs]
        given = [other[:-1] if by > 0 else other[1:] for _, other in pairs]
        remaining = distance(torch.cat(expected), torch.cat(given)) if pairs else math.inf
        if remaining < best.remaining:
            best = Cause("shifted", f"each token has the log-prob of {words}", advice, remaining)
    return best


def reordered(p: Sequence[Tensor], q: Sequence[Tensor], suspects: Sequence[int]) -> Cause:
    """Responses carry the log-probs of other responses of the batch.

    Args:
        p: the policy's, one vector for each response of the batch.
        q: the engine's, likewise.
        suspects: the responses to look at.
    """
    total, tokens, moved = 0.0, 0, []
    for i in suspects:
        same = [j for j in range(len(p)) if len(p[j]) == len(q[i])]
        differences = (torch.stack([p[j] for j in same]).double() - q[i].double()).abs().sum(-1)
        best = int(differences.argmin())
        total, tokens = total + float(differences[best]), tokens + len(q[i])
        moved += [(i, same[best])] if same[best] != i else []
    example = f" (response {moved[0][0]} those of response {moved[0][1]})" if moved else ""
    return Cause(
        "order", f"{len(moved)} of {len(suspects)} responses that differ carry those of another response{example}",
        "let the engine return completions in the order of the prompts, each with its own log-probs",
        total / tokens if moved and tokens else math.inf,
    )  # fmt: skip


def other_prompts(gaps: Tensor, own: Sequence[int]) -> Cause:
    """Responses belong to other prompts of the batch.

    Args:
        gaps: [n, P] mean difference of each response from the engine's log-probs, after each prompt.
        own: [n] the prompt that each response was returned for.
    """
    best = gaps.argmin(-1).tolist()
    moved = [(i, other) for i, other in enumerate(best) if other != own[i]]
    example = f" (a response to prompt {own[moved[0][0]]} belongs to prompt {moved[0][1]})" if moved else ""
    return Cause(
        "prompts", f"{len(moved)} of {len(best)} responses that were tried fit another prompt of the batch{example}",
        "let the engine return completions in the order of the prompts",
        float(gaps.min(-1).values.mean()) if moved else math.inf,
    )  # fmt: skip


def initial_weights(reference: Tensor, q: Tensor) -> Cause:
    """They are the reference's: the engine never took over any weights."""
    return Cause(
        "stale", "they are those of the initial weights: the engine samples stale weights",
        "let update_weights reach the weights that generate samples from, and empty the engine's prefix cache there",
        distance(reference, q),
    )  # fmt: skip
