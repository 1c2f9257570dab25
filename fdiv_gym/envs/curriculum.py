"""Curriculum: a mixin for environments that choose their training tasks by the previous success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fdiv_gym.registry.guard import adapts
from fdiv_gym.types.task import Task

if TYPE_CHECKING:
    from fdiv_gym.registry.entry import Entry


class Curriculum:
    """Mixin for a TextEnv: ``class MyEnv(fg.Curriculum, fg.TextEnv)``. The trainer calls it once a step.

    With ``trainer.dynamic_sampling`` it calls ``choose_tasks`` again, with another seed, for each round of further
    tasks.

    Attributes:
        adapts: whether this instance chooses its tasks; an option may disable it.
    """

    if TYPE_CHECKING:  # of the TextEnv that it is mixed into
        kind: ClassVar[str]
        entry: Entry | None

        @classmethod
        def registered_name(cls) -> str:
            """The name of the environment."""

    @property
    def adapts(self) -> bool:
        """Whether the curriculum is in use."""
        return True

    def choose_tasks(self, count: int, seed: int) -> list[Task]:
        """``count`` training tasks; they depend on ``seed`` and the state only."""
        raise NotImplementedError

    def observe(self, outcomes: Sequence[tuple[Task, float]]) -> None:
        """Update the state after a training step: each task with its mean score over the scored responses.

        The outcomes are those of all processes, in the same order on each.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint; JSON values only. Top-level numbers are logged as ``curriculum/<name>``."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        raise NotImplementedError


def active_curriculum(env: object) -> Curriculum | None:
    """The environment as a curriculum, or None if it has none or it is disabled."""
    return env if isinstance(env, Curriculum) and adapts(env) else None
