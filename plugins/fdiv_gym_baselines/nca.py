"""NCA on pairs (arXiv 2402.05369)."""

from __future__ import annotations

import pydantic
from torch import Tensor
from torch.nn.functional import logsigmoid

import fdiv_gym as fg
from fdiv_gym.objectives import reference_log_ratio
from fdiv_gym_baselines.pairs import Pairs


class NCA(Pairs):
    """Noise contrastive alignment: the absolute reward of the chosen response counts, not only the margin.

    L = E [-log sigmoid(v(chosen)) - 1/2 log sigmoid(-v(chosen)) - 1/2 log sigmoid(-v(rejected))],
    v = beta log pi/pi_ref.
    Source: "Noise Contrastive Alignment of Language Models with Explicit Rewards", arXiv 2402.05369, for two responses
    to a prompt. The chosen response is raised while v < log 2, then lowered: its likelihood does not fall as under dpo.
    """

    class Options(fg.Options):
        """Options of nca."""

        beta: float = pydantic.Field(0.1, gt=0)
        """Scale of the implicit reward."""

    needs_reference = True

    def score(self, batch: fg.MicroBatch) -> Tensor:
        """Beta log pi/pi_ref."""
        beta: float = self.options.beta
        return beta * reference_log_ratio(batch)

    def losses(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """Classification of chosen against noise; noise is half of each side."""
        return -logsigmoid(chosen) - (logsigmoid(-chosen) + logsigmoid(-rejected)) / 2
