"""A probe of each sync: where the weights changed, the engine's log-probs of fixed tokens must have changed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import fdiv_gym as fg

if TYPE_CHECKING:
    from fdiv_gym_vllm.backend import Backend
    from fdiv_gym_vllm.weights import Layout

TOKENS = 32
"""Length of the probe."""
SHARE = 0.5
"""Share of the weights that must have changed, however little, before equal log-probs are a fault."""
MOVED = 1e-4
"""Relative change of a single weight, not a token's embedding, that is a fault too: an adapter may be on few layers."""
SKETCH = 64
"""Elements of each weight that are kept to tell how far it has moved."""
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Probe:
    """Compares what was sent with what the engine answers, before and after a sync.

    A probe answered with the same log-probs to the last bit, although most weights changed or one has moved far, was
    answered by the old weights. In half precision a small update may vanish in rounding: there nothing is concluded
    from equal log-probs.

    Args:
        layout: names of the weights.
        dtype: that of the engine.
        vocabulary: number of tokens to choose from.
        context: tokens that the engine accepts.
    """

    def __init__(self, layout: Layout, dtype: torch.dtype, vocabulary: int, context: int) -> None:
        self._layout, self._exact, self._vocabulary = layout, dtype == torch.float32, vocabulary
        draw = random.Random(0)
        self.tokens = [draw.randrange(vocabulary) for _ in range(min(TOKENS, context - 1))]
        self._sent: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._sketches: dict[str, Tensor] = {}
        self._moved = 0
        self._answers: dict[str, tuple[float, ...]] = {}

    def watched(self, weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """The weights unchanged; a checksum of each is kept."""
        self._before, self._sent, self._moved = self._sent, {}, 0
        for name, tensor in weights:
            self._sent[name] = bits(tensor)
            before, now = self._sketches.get(name), sketch(tensor)
            self._sketches[name] = now
            # The probe may hold none of the tokens whose embeddings have moved.
            if before is not None and before.any() and (tensor.dim() < 2 or len(tensor) < self._vocabulary):
                self._moved += bool((now - before).norm() > MOVED * before.norm())
            yield name, tensor

    def prove(self, backend: Backend) -> None:
        """Ask the engine again.

        Raises:
            EngineError: it answers as before, although most weights changed, or one has moved far.
        """
        if not self._exact:
            return
        before, self._answers = self._answers, backend.score(self.tokens)
        changed = sum(self._before.get(name) != value for name, value in self._sent.items())
        same = [name for name, answer in self._answers.items() if answer == before.get(name)]
        if same and (self._moved or changed > SHARE * len(self._sent)):
            raise fg.EngineError(
                f"{changed} of {len(self._sent)} weights changed, but the log-probs that {same[0]} gives to "
                f"{len(self.tokens)} probe tokens are the same to the last bit: the sync did not arrive, and it "
                "samples stale weights"
            )


def sketch(tensor: Tensor) -> Tensor:
    """At most ``SKETCH`` elements of a tensor, evenly spread, in fp32 on the CPU."""
    flat = tensor.detach().flatten()
    return flat[:: max(1, len(flat) // SKETCH)][:SKETCH].float().cpu()


def bits(tensor: Tensor) -> int:
    """The sum of a tensor's elements read as integers, modulo 2^64; equal for equal tensors, on any device."""
    flat = tensor.contiguous().view(-1)
    return int(flat.view(_BITS[flat.element_size()]).sum(dtype=torch.int64))
