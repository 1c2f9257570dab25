"""What a run has spent since its start: tokens, verifications and seconds; and the end of its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelerate.utils import gather_object

import fdiv_gym as fg
from fdiv_gym_accelerate.settings import Budget


class Spending:
    """Sums over the steps and processes of a run, through every resume.

    They change at the end of a step only, and a checkpoint keeps them. So a resumed run ends at the step at which it
    would have ended without the interruption, whatever time an evaluation took after its checkpoint's step.

    Args:
        budget: what the run may spend; None for any amount.
        several: whether there are other processes to sum over.
    """

    def __init__(self, budget: Budget | None, *, several: bool = False) -> None:
        self._budget, self._several = budget, several
        self.tokens, self.verifications, self.seconds = 0, 0, 0.0

    def add(self, sampled: Sequence[fg.TrajectoryGroup], seconds: float) -> dict[str, float]:
        """Count a step; every process must call it.

        Args:
            sampled: this process's groups, with those that dynamic sampling dropped.
            seconds: the run's clock at the end of the step; that of the first process counts.

        Returns:
            The sums, for the line of the step; without the counts where the step drew no responses.
        """
        trajectories = [trajectory for group in sampled for trajectory in group.trajectories]
        own = (sum(trajectory.response_length for trajectory in trajectories), len(trajectories), seconds)
        parts: list[tuple[int, int, float]] = gather_object([own]) if self._several else [own]
        self.tokens += sum(part[0] for part in parts)
        self.verifications += sum(part[1] for part in parts)
        self.seconds = parts[0][2]
        line = {"time/run_seconds": self.seconds}
        if any(part[1] for part in parts):
            line |= {"spent/tokens": float(self.tokens), "spent/verifications": float(self.verifications)}
        return line

    @property
    def exhausted(self) -> str | None:
        """The first quantity of the budget that is spent, e.g. ``tokens``; None if none is."""
        limits = {} if self._budget is None else self._budget.limits
        return next((name for name, limit in limits.items() if getattr(self, name) >= limit), None)

    def state_dict(self) -> dict[str, float]:
        """The sums, for checkpoints and ``summary.json``."""
        return {"tokens": self.tokens, "verifications": self.verifications, "seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.tokens, self.verifications = int(state["tokens"]), int(state["verifications"])
        self.seconds = float(state["seconds"])
