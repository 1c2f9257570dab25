"""How far the engine's log-probs are from the policy's on the same tokens, and how far they may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

import fdiv_gym as fg

#: Largest mean difference in nats a token, by ``trainer.precision``; measurements: docs/decisions.
MEAN_BOUNDS = {"fp32": 1e-3, "bf16": 0.1, "bf16_full": 0.1}
#: A single token may differ by this many times the bound of the mean.
LARGEST = 30.0


@dataclass(frozen=True)
class Bound:
    """Largest differences that count as rounding, in nats.

    Args:
        mean: of the mean over tokens.
        source: what it was taken from, for messages.
    """

    mean: float
    source: str

    @property
    def largest(self) -> float:
        """Of a single token."""
        return LARGEST * self.mean


@dataclass(frozen=True)
class Gap:
    """Differences |log pi - log q| of policy and engine over response tokens, in nats.

    Args:
        tokens: their number; tokens whose difference is not finite are left out.
        total: sum of the differences.
        largest: the largest of them, 0 without tokens.
    """

    tokens: int = 0
    total: float = 0.0
    largest: float = 0.0

    @classmethod
    def of(cls, policy: Tensor, engine: Tensor, mask: Tensor) -> Gap:
        """Compare log-probs, all [b, T], on the tokens of the mask."""
        difference = (policy.detach().double() - engine.double()).abs()[mask]
        finite = difference[torch.isfinite(difference)]
        if not finite.numel():
            return cls()
        return cls(finite.numel(), float(finite.sum()), float(finite.max()))

    @classmethod
    def merged(cls, gaps: Iterable[Gap]) -> Gap:
        """Of the tokens of all of them."""
        parts = list(gaps)
        return cls(
            sum(g.tokens for g in parts), sum(g.total for g in parts), max((g.largest for g in parts), default=0.0)
        )

    @property
    def mean(self) -> float:
        """Mean difference of a token; 0 without tokens."""
        return self.total / self.tokens if self.tokens else 0.0

    def exceeds(self, bound: Bound) -> bool:
        """Whether the mean or the largest difference is above the bound."""
        return self.mean > bound.mean or self.largest > bound.largest


def bound_of(engine: fg.Engine, precision: str, option: float | None) -> Bound:
    """The bound of a run: the trainer's option, else what the engine declares, else that of the precision.

    Args:
        engine: may declare ``logprob_tolerance``.
        precision: ``fp32`` or ``bf16``.
        option: ``trainer.logprob_tolerance``.

    Raises:
        EngineError: what the engine declares is no positive number.
    """
    if option is not None:
        return Bound(option, "trainer.logprob_tolerance")
    declared: object = engine.logprob_tolerance
    if declared is None:
        return Bound(MEAN_BOUNDS[precision], f"trainer.precision = {precision!r}")
    if isinstance(declared, bool) or not isinstance(declared, int | float) or not 0 < declared < float("inf"):
        raise fg.EngineError(f"logprob_tolerance of the engine must be a positive number, not {declared!r}")
    return Bound(float(declared), "the engine's logprob_tolerance")
