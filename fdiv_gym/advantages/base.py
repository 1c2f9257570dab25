"""Advantage: how good a response is, compared with the other responses to the same prompt."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fdiv_gym.objectives.batch import Groups
from fdiv_gym.options import Configurable


class Advantage(Configurable):
    """Base of advantage estimators: a pure function of the whole step's groups."""

    kind: ClassVar[str] = "advantage"

    def compute(self, groups: Groups) -> Tensor:
        """Advantages [N] in fp64, one for each response.

        A response without a score gets 0 and takes no part in any baseline. Where all scores that an
        estimator compares (those of a prompt, or of the step) are equal, every advantage is exactly 0:
        compare minimum and maximum, because the mean of equal floats need not equal them.
        """
        raise NotImplementedError
