"""Base of the objectives on preference pairs: a score for each row, a margin for each pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.objectives import Stream


class Pairs(fg.Objective):
    """L = (1/pairs) sum of pair_loss(score of chosen - score of rejected).

    A subclass implements ``score`` and ``pair_loss``, or ``score`` and ``losses`` where the loss is not a function of
    the margin alone.
    """

    streams = ("preferences",)
    needs_pairs = True
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "preferences/margin": "Mean difference between the scores of the chosen and the rejected response of a pair; "
        "its unit is the objective's.",
        "preferences/accuracy": "Share of the step's pairs with a positive margin, from 0 to 1.",
    }

    def prepare(
        self, groups: fg.GroupBatch | None, preferences: fg.PreferenceBatch | None
    ) -> Mapping[Stream, fg.Coefficients]:
        """The pair and the side of each row, and the pair's weight on its chosen row.

        Raises:
            ConfigError: some preferences are single responses.
        """
        assert preferences is not None
        chosen = preferences.chosen
        if not preferences.paired:
            raise fg.ConfigError(
                f"objective {self.registered_name()!r} compares pairs, but some preferences are single responses: "
                "give every prompt a chosen and a rejected response, or use fdo, kldo, kto or bco"
            )
        rows = {
            "is_chosen": chosen,
            "pair_weight": torch.where(chosen, preferences.shares, 0.0),
            "pair": preferences.unit,
        }
        return {"preferences": fg.Coefficients(rows, torch.ones_like(chosen))}

    def loss(self, stream: Stream, batch: fg.MicroBatch) -> fg.ObjectiveOutput:
        """Sum over the pairs of the micro-batch; the rows may be in any order."""
        pairs, place = torch.unique(batch.rows["pair"], return_inverse=True)
        score = self.score(batch)
        is_chosen = batch.rows["is_chosen"]
        empty = torch.zeros(len(pairs), dtype=score.dtype, device=score.device)
        chosen = empty.index_add(0, place, torch.where(is_chosen, score, 0.0))
        rejected = empty.index_add(0, place, torch.where(is_chosen, 0.0, score))
        weight = empty.index_add(0, place, batch.row("pair_weight"))
        detached = (chosen - rejected).detach()
        metrics = {
            "preferences/margin": (weight * detached).sum(),
            "preferences/accuracy": (weight * (detached > 0)).sum(),
        }
        return fg.ObjectiveOutput((weight * self.losses(chosen, rejected)).sum(), metrics)

    def score(self, batch: fg.MicroBatch) -> Tensor:
        """[b]: the score of each response under the policy, with gradient."""
        raise NotImplementedError

    def losses(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """[pairs]: the loss of each pair from its two scores, each [pairs]."""
        return self.pair_loss(chosen - rejected)

    def pair_loss(self, margin: Tensor) -> Tensor:
        """[pairs]: the loss of each margin."""
        raise NotImplementedError
