"""SPPO with hard labels (arXiv 2405.00675, equation 4.7)."""

from __future__ import annotations

import pydantic
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.objectives import reference_log_ratio
from fdiv_gym_baselines.pairs import Pairs


class SPPO(Pairs):
    """Self-play preference optimisation: each response's log-ratio is regressed to its own target.

    L = E [(h(chosen) - 1/(2 beta))^2 + (h(rejected) + 1/(2 beta))^2], h = log pi/pi_ref, in nats.
    Source: arXiv 2405.00675, equation 4.7, with the win probabilities 1 and 0 and eta = 1/beta. The reference there is
    the policy of the last round, and responses are its own; here it is the run's reference, and one run is one round.
    """

    class Options(fg.Options):
        """Options of sppo."""

        beta: float = pydantic.Field(0.1, gt=0)
        """Strength of the regularisation, 1/eta of the source: the targets are +-1/(2 beta), in nats."""

    needs_reference = True

    def score(self, batch: fg.MicroBatch) -> Tensor:
        """Log pi/pi_ref."""
        return reference_log_ratio(batch)

    def losses(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """The squared distance of each side to its target."""
        goal: float = 1 / (2 * self.options.beta)
        return (chosen - goal) ** 2 + (rejected + goal) ** 2
