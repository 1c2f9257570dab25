"""CPO (arXiv 2401.08417)."""

from __future__ import annotations

import pydantic
from torch import Tensor
from torch.nn.functional import logsigmoid

import fdiv_gym as fg
from fdiv_gym_baselines.likelihood import PairsWithLikelihood


class CPO(PairsWithLikelihood):
    """Contrastive preference optimisation: dpo with a uniform reference, and the likelihood of the chosen response.

    L = -E log sigmoid(beta [log pi(chosen) - log pi(rejected)]) + nll_coefficient NLL(chosen).
    Source: arXiv 2401.08417, "Contrastive Preference Optimization: Pushing the Boundaries of LLM Performance in Machine
    Translation". The NLL there is of whole responses; its released trainer and trl take the mean over tokens, as
    here by default.
    """

    class Options(fg.Options):
        """Options of cpo."""

        beta: float = pydantic.Field(0.1, gt=0)
        """Scale of the log-prob of a whole response."""
        nll_coefficient: float = pydantic.Field(1.0, ge=0)
        """Factor of the negative log-likelihood of the chosen responses."""
        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef("token-mean")
        """Token weights of the likelihood; ``{ name = "constant-length", length = 1 }`` sums a response's tokens."""

    @property
    def likelihood_coefficient(self) -> float:
        """The option ``nll_coefficient``."""
        coefficient: float = self.options.nll_coefficient
        return coefficient

    def score(self, batch: fg.MicroBatch) -> Tensor:
        """Beta log pi."""
        beta: float = self.options.beta
        return beta * batch.sequence_sum(batch.logps)

    def pair_loss(self, margin: Tensor) -> Tensor:
        """-log sigmoid(margin)."""
        return -logsigmoid(margin)
