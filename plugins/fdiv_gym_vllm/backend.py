"""What the engine needs of a vLLM, in this process or on servers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

import fdiv_gym as fg


@dataclass(frozen=True)
class Request:
    """One prompt and how to answer it.

    Args:
        prompt: its tokens.
        n: number of samples; each is drawn with a seed of its own.
        seed: of the first sample; that of sample i is ``seed + i``.
    """

    prompt: tuple[int, ...]
    n: int
    seed: int


@dataclass(frozen=True)
class Sample:
    """The tokens of one sample and their processed log-probs, of the same number."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


class Backend(ABC):
    """A vLLM that samples, takes weights, and scores given tokens."""

    context: int
    """Tokens of prompt and response together that it accepts at most."""

    @abstractmethod
    def sample(self, requests: Sequence[Request], sampling: fg.Sampling, eos: Sequence[int]) -> list[list[Sample]]:
        """The samples of each request, in order; they end with a token of ``eos`` or at ``max_new_tokens``."""

    @abstractmethod
    def score(self, tokens: Sequence[int]) -> dict[str, tuple[float, ...]]:
        """The log-prob of each token but the first after those before it, computed anew; by the name of each vLLM."""

    @abstractmethod
    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Replace all weights."""

    @abstractmethod
    def reset_prefix_cache(self) -> None:
        """Forget what was computed of earlier prompts.

        Raises:
            EngineError: vLLM did not forget it.
        """

    @abstractmethod
    def close(self) -> None:
        """Release memory and files."""
