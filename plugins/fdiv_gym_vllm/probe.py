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
"""Share of the weights that must have changed before equal log-probs are a fault."""
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Probe:
    """Compares what was sent with what the engine answers, before and after a sync.

    A probe answered with the same log-probs to the last bit, although most weights changed, was answered by the old
    weights. In half precision a small update may vanish in rounding: there nothing is concluded from equal log-probs.

    Args:
        layout: names of the weights.
        dtype: that of the engine.
        vocabulary: number of tokens to choose from.
        context: tokens that the engine accepts.
    """

    def __init__(self, layout: Layout, dtype: torch.dtype, vocabulary: int, context: int) -> None:
        self._layout, self._exact = layout, dtype == torch.float32
        draw = random.Random(0)
        self.tokens = [draw.randrange(vocabulary) for _ in range(min(TOKENS, context - 1))]
        self._sent: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._answers: dict[str, tuple[float, ...]] = {}

    def watched(self, weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """The weights unchanged; a checksum of each is kept."""
        self._before, self._sent = self._sent, {}
        for name, tensor in weights:
            self._sent[name] = bits(tensor)
            yield name, tensor

    def prove(self, backend: Backend) -> None:
        """Ask the engine again.

        Raises:
            EngineError: it answers as before, although most weights changed.
        """
        if not self._exact:
            return
        before, self._answers = self._answers, backend.score(self.tokens)
        changed = sum(self._before.get(name) != value for name, value in self._sent.items())
        same = [name for name, answer in self._answers.items() if answer == before.get(name)]
        if same and changed > SHARE * len(self._sent):
            raise fg.EngineError(
                f"{changed} of {len(self._sent)} weights changed, but the log-probs that {same[0]} gives to "
                f"{len(self.tokens)} probe tokens are the same to the last bit: the sync did not arrive, and it "
                "samples stale weights"
            )


def bits(tensor: Tensor) -> int:
    """The sum of a tensor's elements read as integers, modulo 2^64; equal for equal tensors, on any device."""
    flat = tensor.contiguous().view(-1)
    return int(flat.view(_BITS[flat.element_size()]).sum(dtype=torch.int64))
