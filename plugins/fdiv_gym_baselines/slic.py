"""SLiC: a hinge on the margin (arXiv 2305.10425, and arXiv 2309.06657 with a reference)."""

from __future__ import annotations

from typing import Any

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.objectives import reference_log_ratio
from fdiv_gym_baselines.likelihood import PairsWithLikelihood


class SLiC(PairsWithLikelihood):
    """Sequence likelihood calibration: pairs beyond the margin have no gradient.

    L = E max(0, margin - beta [s(chosen) - s(rejected)]) + nll_coefficient NLL(chosen), s = log pi/pi_ref, or log pi
    without ``reference``. Sources: "SLiC-HF: Sequence Likelihood Calibration with Human Feedback", arXiv 2305.10425,
    has no reference and a likelihood term; "Statistical Rejection Sampling Improves Preference Optimization",
    arXiv 2309.06657, has the reference (hinge-norm) and no likelihood term. The defaults are the second.
    """

    class Options(fg.Options):
        """Options of slic."""

        beta: float = pydantic.Field(0.1, gt=0)
        """Scale of the scores."""
        margin: float = pydantic.Field(1.0, gt=0)
        """The margin from which a pair has loss 0."""
        reference: bool = True
        """Whether scores are log-ratios to the reference; False takes log-probs and needs no reference."""
        nll_coefficient: float = pydantic.Field(0.0, ge=0)
        """Factor of the negative log-likelihood of the chosen responses."""
        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef("token-mean")
        """Token weights of the likelihood: a registered aggregation, or a table with its name and options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.needs_reference = self.options.reference

    @property
    def likelihood_coefficient(self) -> float:
        """The option ``nll_coefficient``."""
        coefficient: float = self.options.nll_coefficient
        return coefficient

    def score(self, batch: fg.MicroBatch) -> Tensor:
        """Beta log pi/pi_ref, or beta log pi."""
        beta: float = self.options.beta
        return beta * (reference_log_ratio(batch) if self.needs_reference else batch.sequence_sum(batch.logps))

    def pair_loss(self, margin: Tensor) -> Tensor:
        """max(0, margin wanted - margin)."""
        return torch.relu(self.options.margin - margin)
