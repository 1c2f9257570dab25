"""Dynamic sampling: groups without signal are replaced by groups of further tasks (DAPO, arXiv 2503.14476, 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from accelerate.utils import gather_object

import fdiv_gym as fg
from fdiv_gym.objectives import differing
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.settings import TrainerOptions

Draw = Callable[[int, int, slice], list[fg.TrajectoryGroup]]
"""Draws and scores the groups of one round: its number (0 for the step's own), the tasks of all processes, and which
of them are this process's."""


@dataclass(frozen=True)
class Drawn:
    """The groups of one process in one step.

    Args:
        groups: those that the step trains on.
        sampled: all that were drawn, with those that were replaced or not taken.
        line: metrics of all processes.
    """

    groups: list[fg.TrajectoryGroup]
    sampled: list[fg.TrajectoryGroup]
    line: Mapping[str, float] = field(default_factory=dict)


class Replacement:
    """Replaces groups without signal until none is left or the budget is spent.

    In every round each process draws one group for each of its groups without signal, as far as the budget of all
    processes goes. What was drawn takes a place if it has signal, and is dropped otherwise. So every process trains on
    as many groups as without replacement, and no group with signal is dropped.

    Args:
        settings: with the table ``dynamic_sampling``.
        advantage: of the objective; it says what is compared if no component is named.
        events: takes ``budget_spent``.
        process: the number of this process.
    """

    def __init__(
        self, settings: TrainerOptions, advantage: fg.Advantage | None, events: EventLog, process: int
    ) -> None:
        assert settings.dynamic_sampling is not None
        self._groups, self._options = settings.prompts_per_step, settings.dynamic_sampling
        self._advantage, self._events, self._process = advantage, events, process

    def fill(self, own: Sequence[fg.TrajectoryGroup], draw: Draw) -> Drawn:
        """The groups that the step trains on; every process must call it.

        Args:
            own: the scored groups that this process drew at first.
            draw: draws further ones.

        Raises:
            ConfigError: no verdict with a score has the component.
        """
        self._check_component(own)
        groups, sampled, signal = list(own), list(own), self._signal(own)
        left, number = self._options.budget, 0
        at_first = without = _of_each_process(signal.count(False))
        while any(shares := shares_of(without, left)):
            number += 1
            start = sum(shares[: self._process])
            found = draw(number, sum(shares), slice(start, start + shares[self._process]))
            sampled += found
            left -= sum(shares)
            places = (place for place, has in enumerate(signal) if not has)
            for group, has in zip(found, self._signal(found), strict=True):
                if has:
                    place = next(places)
                    groups[place], signal[place] = group, True
            without = _of_each_process(signal.count(False))
        if any(without):
            self._report(sum(without))
        line = {
            "groups/sampled": self._groups + self._options.budget - left,
            "groups/replaced": sum(at_first) - sum(without),
            "groups/with_signal": self._groups - sum(without),
        }
        return Drawn(groups, sampled, {name: float(count) for name, count in line.items()})

    def _signal(self, groups: Sequence[fg.TrajectoryGroup]) -> list[bool]:
        """Whether each group's scored responses differ in what is compared."""
        if not groups:
            return []
        batch, component = _batch(groups), self._options.component
        if component is None:
            rows = differing(batch, self._advantage)
        else:
            rows = ~batch.all_equal(batch.components.get(component, torch.full_like(batch.rewards, math.nan)))
        return [bool(rows[batch.index == i].any()) for i in range(len(groups))]

    def _check_component(self, groups: Sequence[fg.TrajectoryGroup]) -> None:
        """Refuse a component that no verdict with a score has, in the groups of all processes."""
        component = self._options.component
        if component is None:
            return
        verdicts = [t.verdict for g in groups for t in g.trajectories if t.verdict and t.verdict.score is not None]
        known = set(gather_object(sorted({name for verdict in verdicts for name in verdict.components})))
        if component not in known and any(_of_each_process(len(verdicts))):
            suggestion = fg.errors.did_you_mean(component, known) if known else "they have no components"
            raise fg.ConfigError(
                f"trainer.dynamic_sampling.component = {component!r}: no verdict of the step has it ({suggestion})"
            )

    def _report(self, without: int) -> None:
        budget, component = self._options.budget, self._options.component
        what = "rewards" if component is None else f"values of {component!r}"
        self._events.report(
            "budget_spent",
            f"after {budget} further groups {without} of {self._groups} groups have equal {what} or no score; the step "
            "trains on what there is: raise trainer.dynamic_sampling.budget, or use tasks whose responses differ",
            groups=float(self._groups), without_signal=float(without), budget=float(budget),
        )  # fmt: skip


def shares_of(wanted: Sequence[int], budget: int) -> list[int]:
    """How many groups each process draws: one after the other takes one, until it has what it wants.

    Args:
        wanted: by each process.
        budget: of all of them.
    """
    shares = [0] * len(wanted)
    while sum(shares) < min(budget, sum(wanted)):
        for process, count in enumerate(wanted):
            if shares[process] < count and sum(shares) < budget:
                shares[process] += 1
    return shares


def _of_each_process(count: int) -> list[int]:
    counts: list[int] = gather_object([count])
    return counts


def _batch(groups: Sequence[fg.TrajectoryGroup]) -> fg.GroupBatch:
    """What estimators read of scored groups."""
    sizes = torch.tensor([len(group.trajectories) for group in groups])
    trajectories = [t for group in groups for t in group.trajectories]
    parts = [{} if t.verdict is None else t.verdict.components for t in trajectories]
    return fg.GroupBatch(
        rewards=torch.tensor([math.nan if r is None else r for g in groups for r in g.rewards], dtype=torch.float64),
        index=torch.repeat_interleave(torch.arange(len(sizes)), sizes),
        old_logps=torch.tensor([t.logprob for t in trajectories], dtype=torch.float64),
        lengths=torch.tensor([t.response_length for t in trajectories]),
        components={
            name: torch.tensor([part.get(name, math.nan) for part in parts], dtype=torch.float64)
            for name in sorted({name for part in parts for name in part})
        },
    )
