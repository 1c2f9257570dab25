"""Guards around an environment that chooses its own training tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from fdiv_gym.errors import EnvError
from fdiv_gym.registry.guard.boundaries import Plugin, boundary
from fdiv_gym.registry.guard.environments import check_tasks
from fdiv_gym.types.task import Task


class CurriculumEnv(Plugin, Protocol):
    """The methods of an environment with a curriculum that are called here."""

    @property
    def adapts(self) -> Any: ...  # noqa: D102
    def choose_tasks(self, count: int, seed: int) -> Any: ...  # noqa: D102
    def observe(self, outcomes: Sequence[tuple[Task, float]]) -> Any: ...  # noqa: D102


def adapts(env: CurriculumEnv) -> bool:
    """``env.adapts``: whether the curriculum is in use.

    Raises:
        PluginError: the property failed.
    """
    with boundary(env, "adapts"):
        return bool(env.adapts)


def chosen_tasks_of(env: CurriculumEnv, count: int, seed: int) -> list[Task]:
    """``env.choose_tasks``, checked.

    Raises:
        PluginError: it failed.
        EnvError: it returned no list of ``count`` tasks.
    """
    call = f"choose_tasks({count})"
    with boundary(env, call):
        tasks = env.choose_tasks(count, seed)
        check_tasks(tasks, call)
        if len(tasks) != count:
            raise EnvError(f"{call} returned {len(tasks)} tasks")
    return list(tasks)


def observe_outcomes(env: CurriculumEnv, outcomes: Sequence[tuple[Task, float]]) -> None:
    """``env.observe``.

    Raises:
        PluginError: it failed.
    """
    with boundary(env, "observe"):
        env.observe(outcomes)
