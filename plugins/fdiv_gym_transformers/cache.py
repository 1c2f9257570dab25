"""A key-value cache that is written in place, so that a token costs no copy of what is stored already."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, LinearAttentionCacheLayerMixin

BLOCK = 64
"""Places added at a time."""
LEAST_SHARED = 8
"""Tokens that prompts must have in common for a forward pass of their own."""


class InPlaceLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """The keys and values of a layer with full attention, in buffers with room for further tokens.

    Args:
        keys: [p, H, S, D] of the prompts.
        values: [p, H, S, D].
        repeats: rows that continue each prompt.
    """

    def __init__(self, keys: Tensor, values: Tensor, repeats: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._length = keys.shape[-2]
        self._buffers = [
            self._room(part.repeat_interleave(repeats, 0), self._length + BLOCK) for part in (keys, values)
        ]
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store keys and values [b, H, q, D] of new tokens; all keys and values so far."""
        start, self._length = self._length, self._length + key_states.shape[-2]
        if self._length > self._buffers[0].shape[-2]:
            room = self._length + max(BLOCK, self._length // 4)
            self._buffers = [self._room(part[:, :, :start], room) for part in self._buffers]
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start : self._length] = new
        return self._show()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Row i becomes row ``indices[i]``; rows that keep their place are not copied."""
        rows = len(indices)
        moved = (indices != torch.arange(rows, device=indices.device)).nonzero()[:, 0]
        for place, buffer in enumerate(self._buffers):
            buffer[moved, :, : self._length] = buffer[indices[moved], :, : self._length]
            self._buffers[place] = buffer[:rows]
        self._show()

    @staticmethod
    def _room(part: Tensor, places: int) -> Tensor:
        buffer = part.new_empty(*part.shape[:2], places, part.shape[-1])
        buffer[:, :, : part.shape[-2]] = part
        return buffer

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = (buffer[:, :, : self._length] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values


def repeated(cache: Any, repeats: int) -> Any:
    """The cache of the prompts, for ``repeats`` rows each; layers of another kind than full attention keep theirs."""
    if not isinstance(cache, DynamicCache):
        cache.batch_repeat_interleave(repeats)
        return cache
    for place, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.get_seq_length() > 0:
            cache.layers[place] = InPlaceLayer(layer.keys, layer.values, repeats)
        else:
            layer.batch_repeat_interleave(repeats)
    return cache


def filled(finished: Sequence[bool]) -> list[int]:
    """The rows that are not finished, in an order that moves few: the last of them take the places of finished ones."""
    left = [i for i, done in enumerate(finished) if not done]
    movers = iter(reversed(left))
    return [next(movers) if finished[i] else i for i in range(len(left))]


def unsupported(model: Any) -> str | None:
    """Why a model's state cannot be repeated, divided and continued row by row; None for keys and values."""
    layers = DynamicCache(config=model.config).layers
    if getattr(model, "_is_stateful", False) or any(isinstance(e, LinearAttentionCacheLayerMixin) for e in layers):
        return f"{type(model).__name__} keeps a state of earlier tokens that is not only their keys and values"
    return None


def padding_may_divide(model: Any, cache: Any) -> bool:
    """Whether padding may stand between two tokens of a row: every layer sees all earlier ones, at given positions.

    A window or a bias by distance (ALiBi, GPT-Neo) that is counted in places would count the padding.
    """
    layers, config = cache.layers, model.config.get_text_config()
    return (
        bool(layers)
        and all(type(layer) is DynamicLayer for layer in layers)
        and "position_ids" in inspect.signature(type(model).forward).parameters
        and bool(getattr(config, "rope_parameters", None))
        and not getattr(config, "alibi", False)
    )


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Number of tokens that all prompts begin with, at least one less than the shortest has; 0 if not worth a pass."""
    if len(prompts) < 2:
        return 0
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))  # what these two share, all share
    most = min(len(p) for p in prompts) - 1
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), most)
    shared = min(shared, most)
    return shared if shared >= LEAST_SHARED else 0
