"""Callback: observes or adjusts a run at fixed events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fdiv_gym.errors import PluginError
from fdiv_gym.registry.guard import boundary, label_of
from fdiv_gym.registry.lookup import Spec, get
from fdiv_gym.registry.messages import shorten
from fdiv_gym.registry.options import Configurable
from fdiv_gym.runs.result import RunResult
from fdiv_gym.types.trajectory import TrajectoryGroup
from fdiv_gym.types.verdict import is_finite_number

if TYPE_CHECKING:
    from fdiv_gym.objectives.batch import GroupBatch
    from fdiv_gym.runs.controls import Controls
    from fdiv_gym.runs.panels import Panel

EVENTS = (
    "before_rollouts",
    "after_rollouts",
    "after_verdicts",
    "before_updates",
    "after_advantages",
    "after_step",
    "at_evaluation",
    "at_end",
)


LINE = ("step", "events")
"""Keys of a line of metrics.jsonl that are no metrics."""


class Callback(Configurable):
    """Base of callbacks: a subclass overrides event methods.

    A callback that raises is reported and removed, and the run continues. If ``fatal`` is true, the run stops.

    Attributes:
        fatal: whether a failure of this callback stops the run.
    """

    kind: ClassVar[str] = "callback"
    fatal: ClassVar[bool] = False

    def before_rollouts(self, step: int) -> None:
        """Before responses are drawn for ``step`` (counted from 1)."""

    def after_rollouts(self, step: int, groups: Sequence[TrajectoryGroup]) -> None:
        """After responses are drawn and before they are scored; with dynamic sampling after each round."""

    def after_verdicts(self, step: int, groups: Sequence[TrajectoryGroup]) -> None:
        """After every trajectory has its verdict; the groups that the step trains on."""

    def before_updates(self, step: int, groups: GroupBatch, controls: Controls) -> None:
        """Before the advantages of a step with rollouts are computed; ``groups`` are those of all processes.

        Every process gets the same groups and must set the same ``controls``. A step that a training event keeps from
        updating the policy has no such event.
        """

    def after_advantages(self, step: int, coefficients: Mapping[str, Any]) -> None:
        """Before each update; ``coefficients[stream]`` holds what ``Objective.prepare`` returned, to be read only."""

    def after_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """After the step's updates; ``metrics`` is the line written to metrics.jsonl."""

    def at_evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """After an evaluation on the held-out tasks."""

    def at_end(self, result: RunResult) -> None:
        """At the end of the run, finished or interrupted."""

    def metrics(self) -> Mapping[str, float]:
        """Finite numbers for the line of the step, by names that it does not have; called after the updates.

        Every process calls it, and the line of the first one is kept. Say what they mean in ``metric_meanings``.
        """
        return {}

    def panels(self) -> Sequence[Panel]:
        """Figures and tables for the report; called in the first process at checkpoints and at the end of the run."""
        return ()

    def state_dict(self) -> Mapping[str, Any]:
        """The state, for checkpoints: JSON values by name; empty without any. Every process keeps its own."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned, before the first step after a resume."""


def callback_metrics(callback: Callback, taken: Collection[str] = ()) -> dict[str, float]:
    """``callback.metrics``, checked.

    Args:
        callback: an instance.
        taken: the names that the line of the step has.

    Raises:
        PluginError: it failed, a metric is not a finite number, or its name is taken.
    """
    with boundary(callback, "metrics"):
        found = callback.metrics()
        label = f"{label_of(callback)}: metrics"
        if not isinstance(found, Mapping):
            raise PluginError(f"{label} must return a mapping of names to numbers, got {shorten(found)}")
        for name, value in found.items():
            if not isinstance(name, str) or not is_finite_number(value):
                raise PluginError(f"{label} returned {shorten(name)} = {shorten(value)}, expected a finite number")
            if name in taken or name in LINE:
                raise PluginError(f"{label} returned {name!r}, which the line of the step has: choose another name")
        return {str(name): float(value) for name, value in found.items()}


def get_callback(spec: Spec | Callback, **options: Any) -> Callback:
    """A callback of runs; see ``fdiv_gym.get``."""
    plugin: Callback = get("callback", spec, **options)
    return plugin
