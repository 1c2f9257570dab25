"""The observation of a run's steps: measures, and reports events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import fdiv_gym as fg
from fdiv_gym_accelerate.direction import reward_direction
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.readings import merged_over_processes, reading_of
from fdiv_gym_accelerate.reference import checksum
from fdiv_gym_accelerate.sharding import full, local
from fdiv_gym_accelerate.update import Updater
from fdiv_gym_accelerate.windows import History

DIRECTION_EVERY = 10
"""The direction of the reward is measured at steps 1, 11, 21, ..., and before its first measurement at every step."""


class Watch:
    """Observes the rollouts and the weights of every step.

    Args:
        events: takes what is noticed.
        updater: policy, reference, objective.
        score_range: the environment's lowest and highest score.
    """

    def __init__(self, events: EventLog, updater: Updater, score_range: tuple[float, float]) -> None:
        self._events, self._updater = events, updater
        self._several = updater.accelerator.num_processes > 1
        self._history = History(score_range)
        self.reference_moved()

    def reference_moved(self) -> None:
        """Take the present weights of the reference as those that it must keep."""
        reference = self._updater.reference
        self._reference_at_start = None if reference is None else reference.checksum()

    def before_updates(self, groups: Sequence[fg.TrajectoryGroup]) -> bool:
        """Check the log-probs of the rollouts; whether the step may update the policy. Every process must call it."""
        logps = [p for group in groups for t in group.trajectories for p in t.logprobs]
        bad = sum(1 for p in logps if not math.isfinite(p))
        if bad:
            self._events.report(
                "nonfinite",
                f"{bad} of {len(logps)} log-probs of sampled tokens are not finite: the policy's logits overflow; "
                "lower trainer.learning_rate",
                log_probs=bad,
            )
        return self._events.agree()

    def after_updates(self, step: int, rows: StepRows, sampled: Sequence[fg.TrajectoryGroup]) -> None:
        """Add the step to the windows, and check weights and reference. Every process must call it.

        Args:
            step: from 1.
            rows: that the step trained on.
            sampled: all groups that this process drew for it.
        """
        if "rollouts" in rows.streams:
            measured = (0.0, 0.0)
            if self._events.policies["wrong_sign"] != "ignore" and self._is_due(step):
                measured = reward_direction(self._updater.objective, rows, self._updater.passes.rows)
            own = reading_of(sampled, rows.streams["rollouts"], measured)
            for event in self._history.add(merged_over_processes(own, several=self._several)):
                self._events.report(event.name, event.message, **event.values)
        self._check_weights(rows)
        self._check_reference()

    def _is_due(self, step: int) -> bool:
        """Whether to measure the direction of the reward."""
        return step % DIRECTION_EVERY == 1 or not self._history.measured

    def _check_weights(self, rows: StepRows) -> None:
        """Check the weights, and the log-probs that they give to one of the step's responses."""
        what, model = "", self._updater.model
        if not math.isfinite(checksum(model.parameters())):
            broken = [name for name, weight in model.named_parameters() if not bool(full(weight).isfinite().all())]
            what = f"{len(broken)} weights of the policy are not finite, the first is {broken[0]}"
        else:
            stream = next(iter(rows.streams.values()))
            logps = self._updater.policy_logps(stream.part([0]))
            if not bool(logps.isfinite().all()):
                largest = max(float(local(w).detach().abs().max()) for w in model.parameters() if local(w).numel())
                what = f"the policy's log-probs are not finite (its largest weight is {largest:.3g})"
        if what:
            self._events.report(
                "nonfinite_weights",
                f"after this step's updates {what}: lower trainer.learning_rate and resume from the last checkpoint",
            )

    def _check_reference(self) -> None:
        reference = self._updater.reference
        if reference is None:
            return
        shared = reference.tied(self._updater.model)
        now = reference.checksum()
        if shared:
            what = f"{len(shared)} {reference.tied_text}, the first is {shared[0]}"
        elif now != self._reference_at_start:
            what = f"the reference's weights changed (their sum was {self._reference_at_start} at the start, is {now})"
        else:
            return
        self._events.report(
            "reference_tied",
            f"{what}: the divergence from it is not that from the start; give it a copy of the weights, and let "
            "nothing write into it",
            shared=len(shared),
            sum_at_start=self._reference_at_start or 0.0,
            sum=now,
        )

    def state_dict(self) -> dict[str, Any]:
        """The windows, for checkpoints."""
        return self._history.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self._history.load_state_dict(state)
