"""Log-probs of tokens from hidden states, in chunks of the vocabulary: the logits never exist as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = {"cpu": 2**21, "cuda": 2**25}
"""Logits that exist at a time, by the type of the device: 8 MiB in fp32 stay in the cache of a CPU, a GPU needs large
products; twice that while the entropy is summed."""
CHUNK_TOKENS = {"cpu": 1024, "cuda": 8192}
"""Tokens of a chunk, at most."""
LEAST_COLUMNS = 256
"""A chunk has at least this many columns of the vocabulary."""


@dataclass(frozen=True)
class LogitRule:
    """How a tempered logit z follows from the output of the projection x: z = cap tanh(scale x / cap) / temperature.

    Args:
        temperature: of sampling.
        scale: constant factor of the model's head (Cohere's ``logit_scale``, Granite's ``1 / logits_scaling``).
        cap: final soft-capping of the model's head (Gemma 2), or None.
    """

    temperature: float = 1.0
    scale: float = 1.0
    cap: float | None = None

    @property
    def factor(self) -> float:
        """dz/dx without a cap."""
        return self.scale / self.temperature

    def apply_(self, raw: Tensor) -> tuple[Tensor, Tensor | None]:
        """The tempered logits in the memory of ``raw``, and dz/dx divided by ``factor`` where there is a cap."""
        if self.cap is None:
            return (raw if self.factor == 1 else raw.mul_(self.factor)), None
        tanh = raw.mul_(self.scale / self.cap).tanh_()
        slope = 1 - tanh * tanh
        return tanh.mul_(self.cap / self.temperature), slope


@dataclass(frozen=True)
class Head:
    """A model whose logits are a linear projection of its hidden states.

    Args:
        decoder: gives the hidden states.
        projection: the linear layer to the vocabulary.
        scale: see ``LogitRule``.
        cap: see ``LogitRule``.
    """

    decoder: Any
    projection: torch.nn.Linear
    scale: float = 1.0
    cap: float | None = None

    def logps(self, hidden: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies [M] in nats, see ``chunked_logps``."""
        rule = LogitRule(temperature, self.scale, self.cap)
        return chunked_logps(hidden, self.projection.weight, self.projection.bias, targets, rule)


def head_of(model: Any) -> Head | str:
    """The head of a causal language model, or the reason why its logits cannot be computed in chunks.

    What only a forward pass can tell is left to a comparison with the model's own logits.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder = inner.get_decoder() if hasattr(inner, "get_decoder") else None
    projection = inner.get_output_embeddings() if hasattr(inner, "get_output_embeddings") else None
    if decoder is None or decoder is inner:
        return f"{type(inner).__name__} has no decoder apart from its head"
    if type(projection) is not torch.nn.Linear:
        return f"the head of {type(inner).__name__} is a {type(projection).__name__} and not a Linear"
    if projection._forward_hooks or projection._forward_pre_hooks or hasattr(inner, "_hf_hook"):
        return f"the head of {type(inner).__name__} has hooks"
    if hasattr(projection.weight, "placements"):
        return f"the head of {type(inner).__name__} is sharded"
    config = inner.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    return Head(decoder, projection, scale, getattr(config, "final_logit_softcapping", None))


def chunked_logps(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rule: LogitRule
) -> tuple[Tensor, Tensor]:
    """Log-probs of one token at each place, and the entropies of the distributions.

    Peak memory beyond inputs and gradients is about two chunks of ``CHUNK_ELEMENTS`` logits, for any number of tokens.
    The backward pass computes each chunk again and turns it into its gradient, which is exact: with P the
    probabilities, E the chosen tokens, X the hidden states and g the slope of each token, the gradients are
    g (E - P) W and (E - P)' (g X).

    Args:
        hidden: [M, H], any floating dtype; products are computed in autocast's dtype where it is on.
        weight: [V, H] of the projection; it gets no gradient, and costs none, if it is frozen.
        bias: [V], or None.
        targets: [M] token ids.
        rule: from projections to tempered logits.

    Returns:
        [M] log-probs and [M] entropies in nats, in fp64 for fp64 weights, else in fp32; the latter without gradient.
    """
    device = hidden.device.type
    compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    if weight.dtype == torch.float64:
        compute = torch.float64
    scores: tuple[Tensor, Tensor] = _ChunkedLogps.apply(hidden, weight, bias, targets, rule, compute)  # type: ignore[no-untyped-call]
    return scores


class _ChunkedLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        rule: LogitRule,
        compute: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        dtype = torch.float64 if compute == torch.float64 else torch.float32
        top = torch.full((len(targets),), -torch.inf, dtype=dtype, device=hidden.device)
        total, weighted, chosen = torch.zeros_like(top), torch.zeros_like(top), torch.zeros_like(top)
        with torch.autocast(hidden.device.type, enabled=False):
            inputs = hidden.to(compute)
            for columns, rows in _chunks(inputs, weight):
                logits, _ = rule.apply_(_projected(inputs[rows], weight, bias, columns, dtype))
                places, words = _inside(targets[rows], columns)
                chosen[rows][places] = logits[places, words]
                above = torch.maximum(top[rows], logits.amax(-1))
                powers = (logits - above[:, None]).exp_()
                shrink = (top[rows] - above).exp_()
                total[rows] = total[rows] * shrink + powers.sum(-1)
                weighted[rows] = weighted[rows] * shrink + torch.linalg.vecdot(powers, logits)
                top[rows] = above
                del logits, powers
        normalizer = top + total.log()
        ctx.save_for_backward(hidden, weight, bias, targets, normalizer)
        ctx.rule, ctx.compute = rule, compute
        entropy = normalizer - weighted / total
        ctx.mark_non_differentiable(entropy)
        return chosen - normalizer, entropy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, normalizer = ctx.saved_tensors
        kind = normalizer.dtype
        to_hidden = torch.zeros_like(hidden, dtype=kind) if ctx.needs_input_grad[0] else None
        to_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        to_bias = torch.zeros_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        with torch.autocast(hidden.device.type, enabled=False):
            inputs = hidden.to(ctx.compute)
            minus = -ctx.rule.factor * slope
            sloped = (inputs * minus[:, None]).to(ctx.compute)
            for columns, rows in _chunks(inputs, weight):
                logits, bend = ctx.rule.apply_(_projected(inputs[rows], weight, bias, columns, kind))
                change = logits.sub_(normalizer[rows][:, None]).exp_()  # P - E, with the signs of minus
                change[_inside(targets[rows], columns)] -= 1
                if bend is not None:
                    change.mul_(bend)
                if to_bias is not None:
                    to_bias[columns] += minus[rows] @ change
                change = change.to(ctx.compute)
                if to_hidden is not None:
                    _add_product(to_hidden[rows], change, weight[columns].to(ctx.compute))
                if to_weight is not None:
                    _add_product(to_weight[columns], change.T, sloped[rows])
                del logits, bend, change
            if to_hidden is not None:
                to_hidden = to_hidden.mul_(minus[:, None]).to(hidden.dtype)
        return to_hidden, to_weight, to_bias, None, None, None


def _add_product(result: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a matrix product to a view."""
    if result.dtype == left.dtype:
        result.addmm_(left, right)
    else:
        result += left @ right


def _inside(targets: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """The rows whose target is one of the columns, and its place among them."""
    places = ((targets >= columns.start) & (targets < columns.stop)).nonzero().flatten()
    return places, targets[places] - columns.start


def _projected(inputs: Tensor, weight: Tensor, bias: Tensor | None, columns: slice, dtype: torch.dtype) -> Tensor:
    """[M, C] projections on some columns, in memory of their own."""
    part = None if bias is None else bias[columns].to(inputs.dtype)
    return torch.nn.functional.linear(inputs, weight[columns].to(inputs.dtype), part).to(dtype)


def _chunks(inputs: Tensor, weight: Tensor) -> Iterator[tuple[slice, slice]]:
    """Columns of the vocabulary and rows of the tokens; all rows of some columns follow each other."""
    kind = "cpu" if inputs.device.type == "cpu" else "cuda"
    tokens, vocabulary = len(inputs), len(weight)
    height = min(CHUNK_TOKENS[kind], max(tokens, 1))
    width = min(max(CHUNK_ELEMENTS[kind] // height, LEAST_COLUMNS), vocabulary)
    for start in range(0, vocabulary, width):
        for row in range(0, tokens, height):
            yield slice(start, min(start + width, vocabulary)), slice(row, min(row + height, tokens))
