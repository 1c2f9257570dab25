"""The events of a run: collected in each process, agreed on by all, recorded, printed, and acted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from accelerate.utils import gather_object

import fdiv_gym as fg
from fdiv_gym.runs import TRAINING_EVENTS, Event, Policy

REPEAT = 10
"""A repeated warning is printed at its 1st occurrence, and then at 10, 100, 1000, ..."""


class EventLog:
    """The events of a run.

    ``report`` records an event in this process. ``agree`` makes the events of every process those of all; all
    processes must call it at the same places: before each optimizer step, and at the end of the step.

    Args:
        policies: of every event, see ``event_policies``.
        say: takes one line for the screen.
        several: whether there are other processes to agree with.
    """

    def __init__(self, policies: Mapping[str, Policy], say: Callable[[str], None], *, several: bool = False) -> None:
        self.policies = dict(policies)
        self._say, self._several = say, several
        self._pending: dict[str, Event] = {}
        self._agreed: dict[str, Event] = {}
        self._totals: dict[str, dict[str, int]] = {}

    def report(self, name: str, message: str, **values: float | str) -> Policy:
        """Record an event of this step; only the first of its name counts.

        Args:
            name: a key of ``TRAINING_EVENTS``.
            message: what was measured, the likely cause, and what to do.
            values: the measured numbers.

        Returns:
            What the event leads to; ``skip`` and ``stop`` take effect at the next ``agree``.
        """
        policy = self.policies[name]
        if policy != "ignore":
            self._pending.setdefault(name, Event(name, message, values))
        return policy

    def agree(self) -> bool:
        """Exchange the events of all processes; whether the step may take its next optimizer step."""
        parts: list[dict[str, Event]] = gather_object([self._pending]) if self._several else [self._pending]
        for part in parts:
            for name, event in part.items():
                self._agreed.setdefault(name, event)
        self._pending = {}
        return not any(self.policies[name] in ("skip", "stop") for name in self._agreed)

    def records(self, step: int) -> list[dict[str, Any]]:
        """Agree a last time, count and print the step's events; their records for ``metrics.jsonl``."""
        self.agree()
        result = []
        for name in sorted(self._agreed, key=list(TRAINING_EVENTS).index):
            event, policy = self._agreed[name], self.policies[name]
            total = self._totals.setdefault(name, {"count": 0, "first_step": step, "last_step": step})
            total["count"] += 1
            total["last_step"] = step
            if policy in ("warn", "skip") and _is_power_of_ten(total["count"]):
                self._say(f"step {step}: {policy} {name}: {event.message}{_times(total['count'])}")
            result.append({"name": name, "policy": policy, "message": event.message, **event.values})
        return result

    def end_step(self, step: int) -> None:
        """Forget the step's events; call it after their records were written.

        Raises:
            TrainerError: one of them stops the run.
        """
        events, self._agreed = self._agreed, {}
        for name, event in events.items():
            if self.policies[name] == "stop":
                raise fg.TrainerError(f"step {step}: {name}: {event.message} (trainer.events.{name} = 'stop')")

    def table(self) -> list[str]:
        """One line for each event that occurred; [] if there was none."""
        rows = [
            f"  {self.policies[name]:<5} {name:<20} {total['count']} steps, from {total['first_step']} to "
            f"{total['last_step']}"
            for name, total in self._totals.items()
        ]
        return ["events of the run (messages: metrics.jsonl)", *rows] if rows else []

    def summary(self) -> dict[str, dict[str, Any]]:
        """Policy, count, first and last step of every event that occurred."""
        return {name: {"policy": self.policies[name], **total} for name, total in self._totals.items()}

    def state_dict(self) -> dict[str, dict[str, int]]:
        """The counts, for checkpoints."""
        return {name: dict(total) for name, total in self._totals.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Restore what ``state_dict`` returned."""
        self._totals = {name: dict(total) for name, total in state.items()}


def _is_power_of_ten(count: int) -> bool:
    while count % REPEAT == 0:
        count //= REPEAT
    return count == 1


def _times(count: int) -> str:
    return "" if count == 1 else f" (noticed at {count} steps)"
