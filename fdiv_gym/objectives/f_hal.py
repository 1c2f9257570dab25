"""f-HAL: preference data and on-policy rollouts in one step (arXiv 2602.05946)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic

from fdiv_gym.divergences.base import Divergence
from fdiv_gym.objectives.base import Objective, Stream, Streams
from fdiv_gym.objectives.batch import Coefficients, GroupBatch, MicroBatch, ObjectiveOutput, PreferenceBatch
from fdiv_gym.objectives.f_grpo import FGRPO, on_policy_scale
from fdiv_gym.objectives.fdo import FDO
from fdiv_gym.objectives.penalty import PENALTY_METRICS
from fdiv_gym.registry.reference import PluginRef


class FHAL(Objective):
    """Hybrid alignment: L = lam L_FDO + (1 - lam) L_f-GRPO, each stream with its own denominator.

    lam = 0 is f-grpo and lam = 1 is fdo, exactly; a stream of weight 0 is not read. The on-policy stream
    has the factor 1/(1 + 1/beta) and the off-policy stream does not: at beta = 0.1 they differ by a factor
    of 11. ``off_policy_scale = "matched"`` gives both streams the same factor. ``penalty`` is a part of L_f-GRPO, so
    1 - lam weighs it too.
    Source: arXiv 2602.05946.
    """

    class Options(FGRPO.Options):
        """Options of f-hal: those of f-grpo, which both streams share, and the mixing weight."""

        divergence: PluginRef[Divergence] = PluginRef("jensen_shannon")
        """A registered divergence, or a table with its name and options; both streams use it."""
        lam: float = pydantic.Field(0.5, ge=0, le=1)
        """Weight of the preference stream, at the first step if ``lam_end`` is given."""
        lam_end: float | None = pydantic.Field(None, ge=0, le=1)
        """Weight of the preference stream at the last step; it changes linearly in between."""
        off_policy_scale: Literal["paper", "matched"] = "paper"
        """Factor of the preference stream: 1, or 1/(1 + 1/beta) as on the on-policy stream."""

        @pydantic.model_validator(mode="after")
        def _penalises_rollouts(self) -> FHAL.Options:
            if self.penalty is not None and self.lam == 1 and self.lam_end in (None, 1):
                raise ValueError("penalty acts on rollouts, and with lam = 1 none are drawn: remove it, or lower lam")
            return self

    needs_reference = True
    skips_inactive = True

    streams: Streams = ("rollouts", "preferences")
    metric_meanings: ClassVar[Mapping[str, str]] = PENALTY_METRICS

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        shared = {name: getattr(self.options, name) for name in FGRPO.Options.model_fields}
        self.on_policy = FGRPO(**shared)
        self.off_policy = FDO(**{name: shared[name] for name in FDO.Options.model_fields})
        self.divergence, self.advantage = self.on_policy.divergence, self.on_policy.advantage
        self.exact_gradient = self.on_policy.exact_gradient
        self.has_penalty, self.needs_scores = self.on_policy.has_penalty, self.on_policy.needs_scores
        self.skips_inactive = self.on_policy.skips_inactive
        self.needs_recomputed_logps = self.on_policy.needs_recomputed_logps
        self.lam: float = self.options.lam
        end = self.lam if self.options.lam_end is None else self.options.lam_end
        self.streams = streams_of(min(self.lam, end), max(self.lam, end))

    def at_step(self, step: int, steps: int) -> None:
        """Change lam linearly from ``lam`` at step 1 to ``lam_end`` at step ``steps``."""
        if self.options.lam_end is not None:
            done = (step - 1) / (steps - 1) if steps > 1 else 0.0
            # Not lam + done (end - lam): at done = 1 that may differ from lam_end by a rounding error.
            self.lam = (1 - done) * self.options.lam + done * self.options.lam_end
        self.streams = streams_of(self.lam, self.lam)

    def prepare(self, groups: GroupBatch | None, preferences: PreferenceBatch | None) -> Mapping[Stream, Coefficients]:
        """The coefficients of f-grpo times 1 - lam and those of fdo times lam (and its scale)."""
        coefficients: dict[Stream, Coefficients] = {}
        if "rollouts" in self.streams:
            prepared = self.on_policy.prepare(groups, None)["rollouts"]
            coefficients["rollouts"] = weighted(prepared, 1 - self.lam, self.lam)
        if "preferences" in self.streams:
            prepared = self.off_policy.prepare(None, preferences)["preferences"]
            matched = self.options.off_policy_scale == "matched"
            factor = on_policy_scale(self.options.beta) if matched else 1.0
            coefficients["preferences"] = weighted(prepared, self.lam * factor, self.lam)
        return coefficients

    def loss(self, stream: Stream, batch: MicroBatch) -> ObjectiveOutput:
        """The loss of f-grpo or fdo on the rows."""
        self.on_policy.kl_scale = self.kl_scale * (1 - self.lam)  # the metrics of the penalty are without it
        return (self.on_policy if stream == "rollouts" else self.off_policy).loss(stream, batch)


def streams_of(least: float, most: float) -> Streams:
    """The streams whose weight is not 0 for some lam between ``least`` and ``most``."""
    rollouts: Streams = ("rollouts",) if least < 1 else ()
    preferences: Streams = ("preferences",) if most > 0 else ()
    return rollouts + preferences


def weighted(coefficients: Coefficients, weight: float, lam: float) -> Coefficients:
    """One stream's coefficients with its weight in the mix, and lam among the metrics."""
    rows = {**coefficients.rows, "coefficient": coefficients.rows["coefficient"] * weight}
    return dataclasses.replace(coefficients, rows=rows, metrics={**coefficients.metrics, "lam": lam})
