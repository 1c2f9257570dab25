"""Aggregation: how token losses become one number; a weight for each response, computed before splitting."""

from __future__ import annotations

from typing import ClassVar

import pydantic
import torch
from torch import Tensor

from fdiv_gym import options as _options
from fdiv_gym.options import Configurable


class Aggregation(Configurable):
    """Base of aggregations: the loss is sum_i weights_i sum_t token_loss_it."""

    kind: ClassVar[str] = "aggregation"

    def weights(self, lengths: Tensor) -> Tensor:
        """Weights [N] in fp64 from the numbers of response tokens [N] of the whole step."""
        raise NotImplementedError


class SequenceMean(Aggregation):
    """Mean over responses of the mean over their tokens: 1/(N |y_i|). GRPO (arXiv 2402.03300)."""

    def weights(self, lengths: Tensor) -> Tensor:
        """1/(N |y_i|)."""
        return 1.0 / (lengths.numel() * lengths.double().clamp(min=1))


class TokenMean(Aggregation):
    """Mean over all tokens of the step: 1/sum_j |y_j|. DAPO (arXiv 2503.14476, equation 12)."""

    def weights(self, lengths: Tensor) -> Tensor:
        """The same weight for every response."""
        return torch.full_like(lengths, 1, dtype=torch.float64) / lengths.sum().clamp(min=1)


class ConstantLength(Aggregation):
    """Sum over tokens divided by a constant: 1/(N L). Dr. GRPO (arXiv 2503.20783)."""

    class Options(_options.Options):
        """Options of the constant-length aggregation."""

        length: int = pydantic.Field(512, gt=0)
        """L, in tokens; usually engine.max_new_tokens."""

    def weights(self, lengths: Tensor) -> Tensor:
        """The same weight for every response."""
        return torch.full_like(lengths, 1, dtype=torch.float64) / (lengths.numel() * self.options.length)
