"""Base of the objectives on labelled single responses: the implicit reward is shifted by a statistic of the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.objectives import Stream, policy_log_ratio, reference_log_ratio, side_means, side_rows


class UnpairedObjective(fg.Objective):
    """L = sum_i weight_i row_loss(+-(beta log pi/pi_ref - shift)), + on chosen and - on rejected rows.

    The shift is a statistic of the current policy over the whole step, held constant, or 0. A subclass
    implements ``shifted``, ``shift``, ``weights`` and ``row_loss``.
    """

    streams = ("preferences",)
    needs_reference = True
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "preferences/shift": "What is subtracted from v = beta log(pi/pi_ref) before the loss: beta z0 for kto, delta"
        " for bco.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.needs_policy_logps = self.shifted
        self.exact_gradient = not self.shifted

    def prepare(
        self, groups: fg.GroupBatch | None, preferences: fg.PreferenceBatch | None
    ) -> Mapping[Stream, fg.Coefficients]:
        """The shift, and each row's sign and weight."""
        assert preferences is not None
        chosen = preferences.chosen
        shift = torch.zeros((), dtype=torch.float64, device=chosen.device)
        if self.shifted:
            shift = self.shift(self.options.beta * policy_log_ratio(preferences), preferences)
        rows = {
            "sign": torch.where(chosen, 1.0, -1.0).double(),
            "weight": self.weights(preferences),
            "shift": shift.expand(chosen.shape),
            **side_rows(preferences),
        }
        metrics = {"preferences/shift": float(shift)}
        return {"preferences": fg.Coefficients(rows, torch.ones_like(chosen), metrics)}

    def loss(self, stream: Stream, batch: fg.MicroBatch) -> fg.ObjectiveOutput:
        """Sum over the rows."""
        log_ratio = reference_log_ratio(batch)
        margin = batch.row("sign") * (self.options.beta * log_ratio - batch.row("shift"))
        loss = (batch.row("weight") * self.row_loss(margin)).sum()
        return fg.ObjectiveOutput(loss, side_means(stream, batch, log_ratio, ("chosen", "rejected")))

    @property
    def shifted(self) -> bool:
        """Whether there is a shift; without one no gradient-free pass over the step is needed."""
        raise NotImplementedError

    def shift(self, v: Tensor, preferences: fg.PreferenceBatch) -> Tensor:
        """Scalar from v = beta log pi/pi_ref [N] of all rows, fp64, no gradient."""
        raise NotImplementedError

    def weights(self, preferences: fg.PreferenceBatch) -> Tensor:
        """[N] fp64."""
        raise NotImplementedError

    def row_loss(self, margin: Tensor) -> Tensor:
        """[b]."""
        raise NotImplementedError
