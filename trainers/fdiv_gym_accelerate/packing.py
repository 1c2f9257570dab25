"""Shared prompts: the responses of a prompt behind one copy of it, in one row with a block attention mask."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from fdiv_gym_accelerate.policy import Packed, Padded

LONGEST = 4096
"""Tokens of a packed row; its mask has the square of them."""
PAIR_WEIGHT = 2.2
"""Cost of a floating-point operation of attention against one of a matrix product; from the measurements in
docs/decisions."""
WORTH = 0.9
"""A micro-batch is packed if that costs at most this share of the repeated prompts."""
DYNAMIC_ROPE = ("dynamic", "longrope")
"""Rotary embeddings that depend on the length of the row."""


def refusal_of(model: Any) -> str | None:
    """Why a model may not get packed rows; None for one that sees the whole row in every layer, by position ids."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    name = type(inner).__name__
    if not hasattr(inner, "config") or not hasattr(inner, "get_decoder"):
        return f"{name} is no causal language model of transformers"
    decoder, config = inner.get_decoder(), inner.config.get_text_config()
    parameters = inspect.signature(type(decoder).forward).parameters
    if not {"position_ids", "attention_mask"} <= parameters.keys():
        return f"{name} takes no position_ids"
    if config._attn_implementation not in ("sdpa", "eager"):
        return f"its attention is {config._attn_implementation!r}, and not sdpa or eager"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"]) - {"full_attention"}
    if kinds:
        return f"{name} has layers of {', '.join(sorted(kinds))}"
    for key in ("sliding_window", "attention_chunk_size", "alibi"):
        if getattr(config, key, None):
            return f"{name} has {key} = {getattr(config, key)}"
    rope = getattr(config, "rope_parameters", None) or {}
    if not rope:
        return f"{name} has no rotary position embeddings"
    if rope.get("rope_type") in DYNAMIC_ROPE:
        return f"{name} has rotary embeddings of type {rope['rope_type']}"
    return None


def pair_cost_of(model: Any) -> float:
    """Cost of a pair of tokens in attention, against the cost of a token in everything else but the head."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = inner.config.get_text_config()
    embedding = inner.get_input_embeddings().weight.numel()
    weights = sum(p.numel() for p in inner.get_decoder().parameters()) - embedding
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return float(PAIR_WEIGHT * 4 * config.num_hidden_layers * heads * size / max(2 * weights, 1))


def prompts_of(batch: Padded) -> list[tuple[int, ...]]:
    """The tokens of each row before its first response token; all of its tokens if it has none."""
    lengths, prompts = batch.attention.sum(-1).tolist(), []
    sampled = torch.nn.functional.pad(batch.mask.int(), (1, 0))  # [b, T]: rows of one token have no predicted one
    begins = torch.where(sampled.any(-1), sampled.argmax(-1), batch.ids.shape[1]).tolist()
    for ids, length, begin in zip(batch.ids.tolist(), lengths, begins, strict=True):
        prompts.append(tuple(ids[: min(begin, length)]))
    return prompts


def bundles_of(prompts: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Runs of consecutive rows with the same prompt."""
    bundles: list[list[int]] = []
    for i, prompt in enumerate(prompts):
        if bundles and prompts[bundles[-1][0]] == prompt:
            bundles[-1].append(i)
        else:
            bundles.append([i])
    return bundles


def arrangement(
    prompts: Sequence[tuple[int, ...]], lengths: Sequence[int], pair_cost: float, *, always: bool = False
) -> list[list[int]] | None:
    """Which rows to pack together, or None where repeated prompts cost less.

    The cost of r rows of W tokens, padding included, is r W (1 + pair_cost W). A bundle may be divided into several
    packed rows, each with its copy of the prompt, because attention to all of a long row costs more than it saves.

    Args:
        prompts: of each row.
        lengths: of each row, prompt and response.
        pair_cost: see ``pair_cost_of``.
        always: pack wherever a row fits into ``LONGEST`` tokens.
    """

    def cost(widths: Sequence[int]) -> float:
        widest = max(widths)
        return len(widths) * widest * (1 + pair_cost * widest)

    bundles = bundles_of(prompts)
    best: list[list[int]] | None = None
    least = torch.inf if always else WORTH * cost(lengths)
    size = max(len(bundle) for bundle in bundles)
    while size > 1:
        parts = [bundle[i : i + size] for bundle in bundles for i in range(0, len(bundle), size)]
        widths = [len(prompts[p[0]]) + sum(lengths[i] - len(prompts[i]) for i in p) for p in parts]
        if max(widths) <= LONGEST and cost(widths) < least:
            best, least = parts, cost(widths)
        size = (size + 1) // 2
    return best


def packed(batch: Padded, prompts: Sequence[tuple[int, ...]], parts: Sequence[Sequence[int]]) -> Packed:
    """Put the rows of each part behind one copy of their prompt.

    A response sees its prompt and itself. Places beyond the end of a packed row see the prompt and themselves.
    """
    lengths = batch.attention.sum(-1).tolist()
    widths = [len(prompts[p[0]]) + sum(lengths[i] - len(prompts[i]) for i in p) for p in parts]
    rows, width = len(parts), max(widths)
    ids = torch.zeros((rows, width), dtype=torch.long)
    positions = torch.zeros((rows, width), dtype=torch.long)
    segment = torch.full((rows, width), -1)  # 0 the prompt, k the k-th response
    row, column = torch.zeros(batch.ids.shape, dtype=torch.long), torch.zeros(batch.ids.shape, dtype=torch.long)
    source = batch.ids.cpu()
    for r, part in enumerate(parts):
        end = len(prompts[part[0]])
        ids[r, :end], positions[r, :end], segment[r, :end] = source[part[0], :end], torch.arange(end), 0
        start = end
        for k, i in enumerate(part):
            stop = start + lengths[i] - end
            ids[r, start:stop] = source[i, end : lengths[i]]
            positions[r, start:stop] = torch.arange(end, lengths[i])
            segment[r, start:stop] = k + 1
            row[i] = r
            column[i, :end], column[i, end : lengths[i]] = torch.arange(end), torch.arange(start, stop)
            start = stop
    device = batch.ids.device
    segment = segment.to(device)
    same = (segment[:, :, None] == segment[:, None, :]) | (segment[:, None, :] == 0)
    causal = torch.ones((width, width), dtype=torch.bool, device=device).tril()
    visible = (same & causal)[:, None]
    return Packed(ids.to(device), positions.to(device), visible, row.to(device), column.to(device))
