"""The likelihood of the chosen responses: token weights, and pair objectives that add it to their loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.objectives import Stream, checked_weights, mean_weights
from fdiv_gym_baselines.pairs import Pairs


def likelihood_weights(aggregation: fg.Aggregation, preferences: fg.PreferenceBatch) -> Tensor:
    """[N] fp64: the weight of each token of a chosen row, 0 on rejected rows; denominators count chosen rows only."""
    chosen = preferences.chosen
    weights = torch.zeros(chosen.shape, dtype=torch.float64, device=chosen.device)
    weights[chosen] = checked_weights(aggregation, preferences.lengths[chosen], preferences.shares[chosen])
    return weights


class PairsWithLikelihood(Pairs):
    """L = (1/pairs) sum of the pairs' losses - likelihood_coefficient sum_i w_i log pi(y_i), i the chosen rows.

    The weights w are those of the option ``aggregation``. A subclass implements ``score``, ``pair_loss`` and
    ``likelihood_coefficient``.
    """

    metric_meanings: ClassVar[Mapping[str, str]] = {
        "preferences/logp_chosen": "Mean log-prob of a whole chosen response under the policy, in nats, 0 or less.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.aggregation: fg.Aggregation = self.options.aggregation.build()

    def prepare(
        self, groups: fg.GroupBatch | None, preferences: fg.PreferenceBatch | None
    ) -> Mapping[Stream, fg.Coefficients]:
        """The rows of the pairs, and the token weight of each chosen response."""
        assert preferences is not None
        prepared = super().prepare(groups, preferences)["preferences"]
        weights = self.likelihood_coefficient * likelihood_weights(self.aggregation, preferences)
        rows = {**prepared.rows, "likelihood": weights, "chosen": mean_weights(preferences.chosen)}
        return {"preferences": fg.Coefficients(rows, prepared.active)}

    def loss(self, stream: Stream, batch: fg.MicroBatch) -> fg.ObjectiveOutput:
        """The sum over pairs, and the weighted negative log-likelihood."""
        output = super().loss(stream, batch)
        logps = batch.sequence_sum(batch.logps)
        mean_logp = (batch.rows["chosen"].double() * logps.detach().double()).sum()
        likelihood = (batch.row("likelihood") * logps).sum()
        return fg.ObjectiveOutput(output.loss - likelihood, {**output.metrics, "preferences/logp_chosen": mean_logp})

    @property
    def likelihood_coefficient(self) -> float:
        """The factor of the negative log-likelihood, at least 0."""
        raise NotImplementedError
