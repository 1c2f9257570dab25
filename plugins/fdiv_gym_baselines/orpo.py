"""ORPO (arXiv 2403.07691, equations 6 and 7)."""

from __future__ import annotations

import math

import pydantic
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import fdiv_gym as fg
from fdiv_gym_baselines.likelihood import PairsWithLikelihood

#: Largest mean log-prob, in nats a token, at which 1 - p is evaluated. Nearer to 0 it is rounding in fp32.
CEILING = -1e-6


class ORPO(PairsWithLikelihood):
    """Odds ratio preference optimisation: supervised fine-tuning and a preference for the odds of the chosen response.

    L = NLL(chosen) - lam E log sigmoid(log odds(chosen) - log odds(rejected)), odds = p/(1 - p),
    log p = (1/|y|) log pi(y). Source: arXiv 2403.07691, equations 6 and 7. Their released trainer and trl take the
    NLL over the prompt's tokens too; here it is over the response, because preference rows hold no log-probs of
    prompts.
    """

    class Options(fg.Options):
        """Options of orpo."""

        lam: float = pydantic.Field(0.1, gt=0)
        """Factor of the odds ratio term; the likelihood has 1."""
        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef("token-mean")
        """Token weights of the likelihood: a registered aggregation, or a table with its name and options."""

    @property
    def likelihood_coefficient(self) -> float:
        """1."""
        return 1.0

    def score(self, batch: fg.MicroBatch) -> Tensor:
        """Log odds of the mean token."""
        return log_odds(batch.sequence_sum(batch.logps) / batch.lengths)

    def pair_loss(self, margin: Tensor) -> Tensor:
        """-lam log sigmoid(margin)."""
        lam: float = self.options.lam
        return -lam * logsigmoid(margin)


def log_odds(logp: Tensor) -> Tensor:
    """Log p - log(1 - p) from log p <= 0, of any shape.

    Between ``CEILING`` and 0, 1 - p is that of ``CEILING``: value and gradient stay finite at p = 1.
    """
    below = logp.clamp(max=CEILING)
    # Two branches of log(1 - p), each accurate where it is taken; the other is finite there too.
    rest = torch.where(below > -math.log(2), torch.log(-torch.expm1(below)), torch.log1p(-torch.exp(below)))
    return logp - rest
