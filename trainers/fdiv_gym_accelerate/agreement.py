"""Whether the engine sampled from the policy in training: measured before a rollout batch's first update."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from accelerate.utils import gather_object

import fdiv_gym as fg
from fdiv_gym_accelerate.causes import Cause
from fdiv_gym_accelerate.correction import importance_weights, weight_line, weight_sums
from fdiv_gym_accelerate.diagnosis import likely_cause
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.gap import Bound, Gap
from fdiv_gym_accelerate.settings import TrainerOptions
from fdiv_gym_accelerate.streams import StreamBatch
from fdiv_gym_accelerate.texts import TextFault, text_fault
from fdiv_gym_accelerate.update import Updater

UNKNOWN = Cause(
    "unknown", "no fault that is looked for explains it",
    "run fdiv-gym check on the engine; if its precision is coarser, set trainer.logprob_tolerance, or correct for the "
    "difference by trainer.correction",
    math.inf,
)  # fmt: skip
GROWN = 3.0
"""Growth of the mean gap after which its cause is looked for again."""
#: What importance weights make up for: tokens that were drawn from another distribution, whose log-probs are right.
CORRECTABLE = ("stale", "temperature", "truncation", "unknown")


class Agreement:
    """Compares engine and policy on the same tokens, reports disagreement, and corrects for it if it is to.

    Args:
        updater: computes the policy's log-probs.
        tokenizer: of the policy.
        bound: the differences that count as rounding.
        settings: whether and how to correct.
        events: takes ``engine_gap`` and ``engine_text``.
    """

    def __init__(
        self, updater: Updater, tokenizer: Any, bound: Bound, settings: TrainerOptions, events: EventLog
    ) -> None:
        self.updater, self.tokenizer, self.bound = updater, tokenizer, bound
        self.settings, self.events = settings, events
        self._agreed_until: int | None = None
        self._cause: Cause | None = None
        self._cause_at = 0.0

    def correct(self, stream: StreamBatch) -> dict[str, float]:
        """Weigh the rows by the policy's recomputed log-probs against the engine's; the metrics of the weights.

        Without ``trainer.correction`` nothing changes. Every process must call it.
        """
        settings, engine, policy = self.settings, stream.padded.old_logps, stream.recomputed_logps
        if settings.correction == "none" or engine is None or policy is None:
            return {}
        mask, upper = stream.padded.mask, settings.correction_upper
        stream.weights = importance_weights(
            policy.double() - engine.double(), mask, settings.correction, settings.correction_lower, upper
        )
        parts = self._gathered(weight_sums(stream.weights, mask, upper))
        return weight_line({key: sum(part[key] for part in parts) for key in parts[0]})

    def check(self, step: int, gap: Gap, stream: StreamBatch, groups: Sequence[fg.TrajectoryGroup]) -> dict[str, float]:
        """Report what disagrees; every process must call it once a step, before the first update.

        Args:
            step: from 1.
            gap: of this process's rows.
            stream: this process's rows.
            groups: the rollouts of these rows.

        Returns:
            The metrics ``engine/logprob_gap`` and ``engine/logprob_gap_mean`` over all processes.
        """
        self._check_texts(groups)
        whole = Gap.merged(self._gathered(gap))
        if whole.exceeds(self.bound):
            self._report(step, whole, stream)
        elif whole.tokens:
            self._agreed_until, self._cause = step, None
        return {"engine/logprob_gap": whole.largest, "engine/logprob_gap_mean": whole.mean}

    def _check_texts(self, groups: Sequence[fg.TrajectoryGroup]) -> None:
        fault: TextFault | None = text_fault(groups, self.tokenizer)
        if fault is not None:
            self.events.report(
                "engine_text",
                f"{fault.count} of {fault.responses} responses have a text that is not that of their tokens, so the "
                f"reward belongs to something else than what is trained: {fault.finding}; {fault.example}. Let the "
                "engine return the decoded tokens as text, without the end token",
                responses=float(fault.count),
            )

    def _report(self, step: int, gap: Gap, stream: StreamBatch) -> None:
        """Report the gap of all processes with its cause.

        The cause is looked for at the first step that disagrees, and again when the gap has grown: another fault may
        have come to one that is corrected.
        """
        if self._cause is None or gap.mean > GROWN * self._cause_at:
            found = self._gathered(self._cause_of(step, stream))
            self._cause, self._cause_at = min(found, key=lambda cause: cause.remaining), gap.mean
        cause = self._cause
        if self.settings.correction != "none" and cause.name in CORRECTABLE:
            return
        self.events.report(
            "engine_gap",
            f"the engine's log-probs of the sampled tokens differ from the policy's by {gap.mean:.3g} nats in the mean "
            f"and {gap.largest:.3g} at most (bounds {self.bound.mean:g} and {self.bound.largest:g}, from "
            f"{self.bound.source}). Likely cause: {cause.finding}. {cause.advice[0].upper()}{cause.advice[1:]}",
            mean=gap.mean, largest=gap.largest, cause=cause.name,
        )  # fmt: skip

    def _cause_of(self, step: int, stream: StreamBatch) -> Cause:
        cause = likely_cause(self.updater, stream, self.bound)
        if cause is not None:
            return cause
        if self._agreed_until is not None:
            return Cause(
                "stale",
                f"they agreed until step {self._agreed_until}, before the weights changed further: most likely the "
                "engine samples stale weights",
                "let update_weights reach the weights that generate samples from, and empty the engine's prefix cache",
                math.inf,
            )
        return UNKNOWN

    def state_dict(self) -> dict[str, Any]:
        """What earlier steps showed, for checkpoints."""
        cause = None if self._cause is None else asdict(self._cause)
        return {"agreed_until": self._agreed_until, "cause": cause, "cause_at": self._cause_at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self._agreed_until, self._cause_at = state["agreed_until"], state["cause_at"]
        self._cause = None if state["cause"] is None else Cause(**state["cause"])

    def _gathered(self, value: Any) -> list[Any]:
        """The values of all processes."""
        return gather_object([value]) if self.updater.accelerator.num_processes > 1 else [value]
