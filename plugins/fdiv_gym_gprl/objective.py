"""The objective of GPRL: the clipped surrogate of PPO and a k3 term on the advantages ``gprl``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic

import fdiv_gym as fg
from fdiv_gym.objectives import Stream


class GPRLObjective(fg.Objective):
    """L = -(1/G) sum_i (1/|y_i|) sum_t { min[rho_it A_i, clip(rho_it, 1 - eps, 1 + eps) A_i] - beta k3_it }.

    A_i are the advantages ``gprl``, whose scores the judge ``gpm`` gives. The loss is that of ``grpo``, which computes
    it; every other objective takes the same advantages by ``advantage = "gprl"``. The combination is that of arXiv
    2605.18721. Its clip range and its beta are not published in what we have: 0.2 and 0.04 are those of ``grpo``.
    """

    class Options(fg.Options):
        """Options of gprl."""

        beta: float = pydantic.Field(0.04, ge=0)
        """Coefficient of the k3 term to the reference; 0 needs no reference."""
        clip_low: float = pydantic.Field(0.2, ge=0, le=1)
        """The ratio is clipped below at 1 - clip_low."""
        clip_high: float = pydantic.Field(0.2, ge=0)
        """The ratio is clipped above at 1 + clip_high."""
        advantage: fg.PluginRef[fg.Advantage] = fg.PluginRef("gprl")
        """A registered advantage, or a table with its name and options."""
        aggregation: fg.PluginRef[fg.Aggregation] = fg.PluginRef("sequence")
        """A registered aggregation, or a table with its name and options."""

    streams = ("rollouts",)
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "rollouts/k3": "Mean k3 estimate of the KL divergence to the reference, in nats a token, 0 or more; with beta"
        " > 0 only.",
        "rollouts/clipped": "Share of the tokens of responses in the loss whose ratio is clipped, from 0 to 1.",
        "rollouts/clipped_low": "Share of the tokens of responses in the loss without gradient because their advantage"
        " is negative and their ratio below the lower bound, from 0 to 1.",
        "rollouts/clipped_high": "Share of the tokens of responses in the loss without gradient because their advantage"
        " is positive and their ratio above the upper bound, from 0 to 1.",
    }
    options: Options

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._clipped = fg.get_objective("grpo", **{name: getattr(self.options, name) for name in self._passed()})
        self.advantage = self._clipped.advantage
        self.needs_reference = self._clipped.needs_reference
        self.skips_inactive = self._clipped.skips_inactive
        self.has_penalty = self._clipped.has_penalty

    def prepare(
        self, groups: fg.GroupBatch | None, preferences: fg.PreferenceBatch | None
    ) -> Mapping[Stream, fg.Coefficients]:
        """The advantage and the token weight of each response.

        Raises:
            ConfigError: the verdicts of the step have components, but not those that the advantage reads.
        """
        return self._clipped.prepare(groups, preferences)

    def loss(self, stream: Stream, batch: fg.MicroBatch) -> fg.ObjectiveOutput:
        """The weighted sum over response tokens; ``kl_scale`` multiplies beta."""
        self._clipped.kl_scale = self.kl_scale
        return self._clipped.loss(stream, batch)

    def _passed(self) -> list[str]:
        return list(type(self).Options.model_fields)
