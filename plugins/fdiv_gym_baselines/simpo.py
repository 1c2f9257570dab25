"""SimPO (arXiv 2405.14734, equation 6)."""

from __future__ import annotations

import pydantic
from torch import Tensor
from torch.nn.functional import logsigmoid

import fdiv_gym as fg
from fdiv_gym_baselines.pairs import Pairs


class SimPO(Pairs):
    """Simple preference optimisation: length-normalised log-probs, a target margin, no reference.

    L = -E log sigmoid(beta/|chosen| log pi(chosen) - beta/|rejected| log pi(rejected) - gamma).
    Source: arXiv 2405.14734, equation 6.
    """

    class Options(fg.Options):
        """Options of simpo."""

        beta: float = pydantic.Field(2.0, gt=0)
        """Scale of the mean log-prob of a token."""
        gamma: float = pydantic.Field(1.0, ge=0)
        """Target margin."""

    def score(self, batch: fg.MicroBatch) -> Tensor:
        """beta/|y| log pi."""
        beta: float = self.options.beta
        return beta * batch.sequence_sum(batch.logps) / batch.lengths

    def pair_loss(self, margin: Tensor) -> Tensor:
        """-log sigmoid(margin - gamma)."""
        return -logsigmoid(margin - self.options.gamma)
