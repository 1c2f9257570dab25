"""APO-zero and APO-down (arXiv 2408.06266, equations 7 and 8)."""

from __future__ import annotations

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.objectives import reference_log_ratio
from fdiv_gym_baselines.pairs import Pairs


class AnchoredPairs(Pairs):
    """Base of both: the score is v = beta log pi/pi_ref, and the loss anchors the sides instead of their margin."""

    class Options(fg.Options):
        """Options of apo-zero and apo-down."""

        beta: float = pydantic.Field(0.1, gt=0)
        """Scale of the implicit reward: a larger value saturates gains and losses earlier."""

    needs_reference = True

    def score(self, batch: fg.MicroBatch) -> Tensor:
        """Beta log pi/pi_ref."""
        beta: float = self.options.beta
        return beta * reference_log_ratio(batch)


class APOZero(AnchoredPairs):
    """Anchored preference optimisation for chosen responses that are better than the model's own.

    L = E [1 - sigmoid(v(chosen)) + sigmoid(v(rejected))], v = beta log pi/pi_ref.
    Source: arXiv 2408.06266, equation 7. For labelled single responses take kto with ``z0 = "none"``.
    """

    def losses(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """1 - sigmoid(chosen) + sigmoid(rejected)."""
        return torch.sigmoid(-chosen) + torch.sigmoid(rejected)


class APODown(AnchoredPairs):
    """Anchored preference optimisation for chosen responses that are worse than the model's own.

    L = E [sigmoid(v(chosen)) + 1 - sigmoid(v(chosen) - v(rejected))], v = beta log pi/pi_ref.
    Source: arXiv 2408.06266, equation 8. The likelihood of both responses falls, that of the rejected one more: at the
    reference the gradient on the chosen response is exactly 0.
    """

    raises_chosen = False

    def losses(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """sigmoid(chosen) + 1 - sigmoid(margin)."""
        return torch.sigmoid(chosen) + torch.sigmoid(rejected - chosen)
