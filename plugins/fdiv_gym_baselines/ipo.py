"""IPO (arXiv 2310.12036, equation 17)."""

from __future__ import annotations

import pydantic
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.objectives import reference_log_ratio
from fdiv_gym_baselines.pairs import Pairs


class IPO(Pairs):
    """Identity preference optimisation: the target of the margin is 1/(2 tau).

    L = E (h - 1/(2 tau))^2, h = s(chosen) - s(rejected), s = (1/|y|) log pi/pi_ref.
    Source: arXiv 2310.12036, equation 17. The equation has whole responses, without 1/|y|; its authors advise the mean
    over tokens and state that their results were obtained with it (documentation of trl's DPO trainer).
    """

    class Options(fg.Options):
        """Options of ipo."""

        tau: float = pydantic.Field(0.1, gt=0)
        """Strength of the regularisation: 1/(2 tau) is the target margin, in nats (a token, if normalised)."""
        length_normalised: bool = True
        """Divide each response's log-ratio by its tokens, as the authors advise. False: equation 17 to the letter; the
        gradient is then larger by about the length of a response."""

    needs_reference = True

    def score(self, batch: fg.MicroBatch) -> Tensor:
        """Log pi/pi_ref, of a token or of the response."""
        ratio = reference_log_ratio(batch)
        return ratio / batch.lengths if self.options.length_normalised else ratio

    def pair_loss(self, margin: Tensor) -> Tensor:
        """(margin - 1/(2 tau))^2."""
        goal: float = 1 / (2 * self.options.tau)
        return (margin - goal) ** 2
