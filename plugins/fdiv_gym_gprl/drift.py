"""The callback ``drift-monitor``: it watches the dimensions of the reward and counters a drift among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

import fdiv_gym as fg
from fdiv_gym.runs import Controls, Panel
from fdiv_gym_gprl.law import Law, LawOptions
from fdiv_gym_gprl.panel import panel_of
from fdiv_gym_gprl.readings import Reading, read, watched


class DriftMonitor(fg.Callback):
    """Lowers exploited dimensions, raises neglected ones and tightens the trust region while the shares drift.

    It reads each component's variance within the prompts of a step, relative to the start of the run, and sets the
    ``multipliers`` of the objective's advantage and the factor on its KL coefficient; see ``Law`` for the formulas.
    It watches the dimensions of a preference model (``gprl/<l>``, with their eigenvalues ``lambda/<l>`` and their
    levels ``anchored/<l>``), or without those every component, whose own mean is then its level. A step in which a
    watched component has no two responses to one prompt changes nothing. The monitor is that of arXiv 2605.18721; its
    update law and its thresholds are not published in what we have: both are this project's.

    Without anchors a group score has no level, so a saturated exploit cannot be told from neglect, and its multiplier
    rises again: give the judge ``gpm`` anchors, or set ``highest = 1``.
    """

    class Options(LawOptions):
        """What is watched, whether the monitor acts, and the constants of its law."""

        components: tuple[str, ...] = ()
        """Components to watch; empty takes those of a preference model, or else all."""
        act: bool = True
        """Whether multipliers and KL coefficient are changed; false only records."""

    options: Options
    fatal: ClassVar[bool] = True
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "drift/divergence": "Divergence of the dimensions' shares from those at the start, in nats, at the drift "
        "monitor's last reading.",
        "drift/kl_scale": "Factor of the KL coefficient that the drift monitor gives, 1 while it does not act.",
        "drift/multiplier/<name>": "Multiplier of the component <name> that the drift monitor gives, 1 while it does "
        "not act.",
        "drift/share/<name>": "Share of the component <name> in the variance relative to the start, from 0 to 1.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.law = Law(self.options)
        self._watched: list[str] = []
        self._heard = not self.options.act
        self._set_last: dict[str, float] = {}
        self._steps: list[dict[str, Any]] = []

    def before_updates(self, step: int, groups: fg.GroupBatch, controls: Controls) -> None:
        """Take in the step's groups and set the controls.

        Raises:
            ConfigError: a component is missing, the objective's advantage reads no multipliers of it or its loss has
                no term that the factor could multiply, another callback sets the same, or the threshold cannot be
                reached.
        """
        readings = self._readings(groups)
        event = self.law.observe(readings) if readings else ""
        if self.law.ready:
            self._record(step, event)
            if self.options.act:
                self._set(groups, controls)

    def metrics(self) -> Mapping[str, float]:
        """Divergence of the shares, KL factor, multipliers and shares; nothing during the warm-up."""
        if not self.law.ready:
            return {}
        line = {"drift/divergence": self.law.drift, "drift/kl_scale": self.law.kl_scale}
        line |= {f"drift/multiplier/{name}": value for name, value in self.law.multipliers().items()}
        return line | {f"drift/share/{name}": value for name, value in self.law.shares().items()}

    def panels(self) -> Sequence[Panel]:
        """Shares, drift, multipliers, KL factor and levels over the steps, and the events."""
        threshold = self.options.threshold
        return [panel_of(self._steps, threshold, threshold * self.options.release)] if self._steps else []

    def state_dict(self) -> Mapping[str, Any]:
        """The state of the law, and what the panel shows."""
        return {"law": self.law.state_dict(), "watched": list(self._watched), "steps": list(self._steps)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned.

        Raises:
            ConfigError: it watched other components than the options name.
        """
        wanted, had = self.options.components, list(state["watched"])
        if had and wanted and {*wanted} != {*had}:
            raise fg.ConfigError(
                f"drift-monitor: the run watched {', '.join(had)} before, and components is {', '.join(wanted)}: the "
                "start of the others is not known; leave components as it was, or start a new run"
            )
        self.law.load_state_dict(state["law"])
        self._watched, self._steps = had, list(state["steps"])

    def _readings(self, groups: fg.GroupBatch) -> dict[str, Reading]:
        """The readings of all watched components; empty where one has none."""
        if not self._watched:
            self._watched = watched(list(groups.components), self.options.components)
        missing = [name for name in self._watched if name not in groups.components]
        if missing and self.options.components and groups.components:
            found = ", ".join(sorted(groups.components))
            raise fg.ConfigError(
                f"drift-monitor: no verdict of the step has the component {missing[0]!r}; components: {found}"
            )
        readings = {name: read(groups, name) for name in self._watched}
        complete = {name: one for name, one in readings.items() if one is not None}
        return complete if len(complete) == len(readings) else {}

    def _set(self, groups: fg.GroupBatch, controls: Controls) -> None:
        advantage, multipliers = controls.advantage, self.law.multipliers()
        if not self._heard:
            self._heard = _reads_multipliers(advantage, groups, self._watched)
        if advantage is not None:
            self._refuse_others({name: advantage.multiplier(name) for name in multipliers}, "multiplier of {}")
            advantage.multipliers.update(multipliers)
            self._set_last |= multipliers
        tightens = self.options.tightening > 0
        if tightens and not controls.has_penalty:
            raise fg.ConfigError(
                "drift-monitor: the objective has no k3 term and no divergence penalty to tighten: set its "
                "coefficient above 0 (beta or penalty_coefficient), or tightening = 0"
            )
        if tightens or (controls.has_penalty and self.law.kl_scale != 1):  # a resume may have set tightening to 0
            self._refuse_others({"": controls.kl_scale}, "factor on the KL coefficient")
            controls.kl_scale = self._set_last[""] = self.law.kl_scale

    def _refuse_others(self, found: Mapping[str, float], what: str) -> None:
        """Refuse values that are not those which this monitor set last; the key "" is the KL factor."""
        changed = [name for name, value in found.items() if self._set_last.get(name, value) != value]
        if changed:
            raise fg.ConfigError(
                f"drift-monitor: another callback sets the {what.format(changed[0])} too: let one of them do it, by "
                "components, tightening = 0 or act = false"
            )

    def _record(self, step: int, event: str) -> None:
        self._steps.append(
            {
                "step": step,
                "event": event,
                "drift": self.law.drift,
                "kl_scale": self.law.kl_scale,
                "shares": self.law.shares(),
                "multipliers": self.law.multipliers(),
                "levels": {name: one.level for name, one in self.law.dimensions.items() if one.level is not None},
            }
        )


def _reads_multipliers(advantage: fg.Advantage | None, groups: fg.GroupBatch, names: list[str]) -> bool:
    """Whether the multiplier of each name changes the advantages; False where a step cannot tell.

    Raises:
        ConfigError: those of some names do not.
    """
    unread = names
    if advantage is not None:
        if not bool(advantage.compute(groups).any()):
            return False
        none = _weighed(advantage, groups, dict.fromkeys(names, 0.0))
        readings = {name: read(groups, name) for name in names}
        moving = [name for name, one in readings.items() if one is not None and one.variance and one.eigenvalue]
        # Alone, because a dimension that is equal to another may have no effect beside it.
        alone = {name: dict.fromkeys(names, 0.0) | {name: 1.0} for name in moving}
        unread = [name for name in moving if torch.equal(_weighed(advantage, groups, alone[name]), none)]
        if not unread:
            return bool(moving)
    label = "no advantage" if advantage is None else f"the advantage {advantage.registered_name()!r}"
    raise fg.ConfigError(
        f"drift-monitor: the objective has {label}, on which the multipliers of {', '.join(unread)} have no effect: "
        "take one that weighs components (gprl, gdpo), name what to watch in components, or set act = false to record "
        "only"
    )


def _weighed(advantage: fg.Advantage, groups: fg.GroupBatch, multipliers: Mapping[str, float]) -> torch.Tensor:
    """The advantages under these multipliers, which are then as before."""
    kept = dict(advantage.multipliers)
    try:
        advantage.multipliers = {**kept, **multipliers}
        return advantage.compute(groups)
    finally:
        advantage.multipliers = kept
