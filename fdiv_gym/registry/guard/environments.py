"""Guards around the results of an environment other than verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fdiv_gym.errors import EnvError
from fdiv_gym.registry.guard.boundaries import Plugin, boundary, label_of
from fdiv_gym.registry.guard.conversations import check_said
from fdiv_gym.registry.messages import shorten
from fdiv_gym.types.message import Message
from fdiv_gym.types.task import Task
from fdiv_gym.types.verdict import is_finite_number


class Environment(Plugin, Protocol):
    """The environment methods called here."""

    def tasks(self, split: Any) -> Any: ...  # noqa: D102
    def demonstrations(self, count: int, rng: Any) -> Any: ...  # noqa: D102
    def metrics(self, samples: Sequence[Mapping[str, Any]]) -> Any: ...  # noqa: D102
    def counters(self) -> Any: ...  # noqa: D102
    def vote(self, task: Task, response: str) -> Any: ...  # noqa: D102


def tasks_of(env: Environment, split: str) -> Sequence[Task]:
    """``env.tasks(split)``, checked.

    Raises:
        PluginError: it failed.
        EnvError: it returned no sequence, an empty one, or an item that is not a Task.
    """
    call = f"tasks({split!r})"
    with boundary(env, call):
        tasks = env.tasks(split)
        check_tasks(tasks, call)
        if len(tasks) == 0:
            raise EnvError(f"there are no tasks in split {split!r}")
    return tasks  # type: ignore[no-any-return]


def check_tasks(tasks: object, call: str) -> None:
    """Refuse anything but a sequence of tasks with content hashes; the caller adds the environment's name.

    Raises:
        EnvError: naming the value and what was expected.
    """
    if not isinstance(tasks, Sequence) or isinstance(tasks, (str, bytes)):
        raise EnvError(f"{call} must return a sequence of Task, got {shorten(tasks)}")
    for i, task in enumerate(tasks):
        if not isinstance(task, Task):
            raise EnvError(f"{call} must return Task objects, item {i} is {shorten(task)}")
        _ = task.hash  # raises for data that are not JSON


def demonstrations_of(env: Environment, count: int, rng: Any) -> list[tuple[str, str] | tuple[Message, ...]]:
    """``env.demonstrations``, checked.

    Raises:
        PluginError: it failed.
        EnvError: it returned no list of ``count`` pairs of strings or conversations.
    """
    with boundary(env, "demonstrations"):
        pairs: object = env.demonstrations(count, rng)
    label = f"{label_of(env)}: demonstrations({count})"
    if not isinstance(pairs, Sequence) or isinstance(pairs, (str, bytes)):
        raise EnvError(f"{label} must return a list of (prompt, response), got {shorten(pairs)}")
    if len(pairs) != count:
        raise EnvError(f"{label} returned {len(pairs)} pairs")
    found: list[tuple[str, str] | tuple[Message, ...]] = []
    for i, pair in enumerate(pairs):
        is_list = isinstance(pair, (tuple, list))
        if is_list and len(pair) == 2 and all(isinstance(text, str) for text in pair):
            found.append((pair[0], pair[1]))
        elif is_list and any(isinstance(m, Message) and m.role == "assistant" for m in pair):
            found.append(check_said(env, "demonstrations", pair, chat=True))
        else:
            raise EnvError(
                f"{label} must return pairs of strings (prompt, response) or conversations, item {i} is {shorten(pair)}"
            )
    return found


def metrics_of(env: Environment, samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """``env.metrics``, checked.

    Raises:
        PluginError: it failed.
        EnvError: a metric is not a finite number.
    """
    with boundary(env, "metrics"):
        found = _numbers(env, "metrics", env.metrics(samples))
    return {name: float(value) for name, value in found.items()}


def counters_of(env: Environment) -> dict[str, float]:
    """``env.counters``, checked; integers stay integers.

    Raises:
        PluginError: it failed.
        EnvError: a counter is not a finite number.
    """
    with boundary(env, "counters"):
        deputy = getattr(env, "deputy", None)
        found = _numbers(env, "counters", (env if deputy is None else deputy).counters())
    # numpy's scalars are numbers but not JSON
    return {name: value if type(value) in (int, float) else float(value) for name, value in found.items()}


def vote_of(env: Environment, task: Task, response: str) -> str | None:
    """``env.vote``, checked.

    Raises:
        PluginError: it failed.
        EnvError: the vote is neither a string nor None.
    """
    with boundary(env, "vote"):
        vote = env.vote(task, response)
    return _text_or_none(env, "vote", vote)


def _text_or_none(env: Environment, call: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise EnvError(f"{label_of(env)}: {call} must return a string or None, got {shorten(value)}")
    return value


def _numbers(env: Environment, call: str, found: object) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise EnvError(f"{label_of(env)}: {call} must return a mapping of names to numbers, got {shorten(found)}")
    what = call.removesuffix("s")
    for name, value in found.items():
        if not is_finite_number(value):
            raise EnvError(
                f"{label_of(env)} returned the {what} {shorten(name)} = {shorten(value)}, expected a finite number"
            )
    return {str(name): value for name, value in found.items()}
