"""The checks of tasks, ``reset`` and demonstrations in the conformance kit for environments."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial

from fdiv_gym.envs.base import Environment, Split
from fdiv_gym.envs.conversation import texts
from fdiv_gym.envs.text import TextEnv
from fdiv_gym.errors import FdivGymError
from fdiv_gym.registry.guard import demonstrations_of
from fdiv_gym.testing.hostile import shown, within
from fdiv_gym.testing.plays import begun_tasks, openings
from fdiv_gym.testing.report import Report
from fdiv_gym.types.message import Message
from fdiv_gym.types.task import Task

SPLITS: tuple[Split, ...] = ("train", "heldout")
LOOKED_AT = 20
BEGUN = 500
"""Conversations begun at once to read their first messages."""


def sample_tasks(env: Environment, split: Split = "train", count: int = LOOKED_AT) -> list[Task]:
    """Tasks spread evenly over a split."""
    tasks = env.task_list(split)
    step = max(1, len(tasks) // count)
    return [tasks[i] for i in range(0, len(tasks), step)][:count]


def check_gymnasium(env: Environment, report: Report, seconds: float) -> None:
    """Gymnasium's own checker accepts the environment."""
    from gymnasium.utils.env_checker import check_env as gymnasium_check

    with warnings.catch_warnings():
        # Its warnings about numeric boxes, wrappers and rendering do not apply to a text environment.
        warnings.simplefilter("ignore")
        within(seconds, partial(gymnasium_check, env, skip_render_check=True))


def check_tasks(env: Environment, report: Report, seconds: float) -> None:
    """Every task is a Task with a prompt."""
    for split in SPLITS:
        for i, task in enumerate(sample_tasks(env, split)):
            if not isinstance(task, Task):
                report.fail("tasks", f"task {i} of split {split!r} is {task!r}, expected a fdiv_gym.Task")
                break
            if isinstance(env, TextEnv) and not task.prompt:
                report.fail("tasks", f"task {i} of split {split!r} has an empty prompt: engines cannot continue it")
                break


def check_hashes(env: Environment, report: Report, seconds: float) -> None:
    """Equal options give equal tasks, without duplicates."""
    again = type(env)(**env.options.model_dump())
    for split in SPLITS:
        ours, theirs = [[t.hash for t in sample_tasks(e, split)] for e in (env, again)]
        report.check(
            "hashes", ours == theirs, f"two instances with equal options have different tasks in split {split!r}"
        )
        hashes = [task.hash for task in env.task_list(split)]
        doubles = len(hashes) - len(set(hashes))
        report.check("hashes", doubles == 0, f"split {split!r} holds {doubles} tasks twice")


def check_splits(env: Environment, report: Report, seconds: float) -> None:
    """The splits share no task."""
    train, heldout = [{t.hash for t in env.task_list(split)} for split in SPLITS]
    shared = len(train & heldout)
    report.check("splits", shared == 0, f"{shared} tasks are in both splits, so held-out metrics are invalid")


def check_references(env: Environment, report: Report, seconds: float) -> None:
    """Lists the references with which no answer can be compared; they are no failure, their tasks give no score."""
    unjudgeable = getattr(env, "unjudgeable", None)
    if unjudgeable is None:
        return
    for split in SPLITS:
        for reference, reason in unjudgeable(env.task_list(split)).items():
            report.notes.append(f"{split}: no answer can be compared with {shown(reference)}: {reason}")


def check_reset(env: Environment, report: Report, seconds: float) -> None:
    """``reset`` selects the given task, and refuses an index out of range."""
    tasks = env.task_list(env.options.split)
    for index in (0, len(tasks) - 1):
        prompt, info = env.reset(options={"task": index})
        report.check(
            "reset",
            prompt == _first_text(env, tasks[index]),
            f"options={{'task': {index}}} selected another task's prompt",
        )
        report.check("reset", info.get("task_hash") == tasks[index].hash, "info['task_hash'] is not the task's hash")
    for wrong in (len(tasks), -1, "0", True):
        try:
            env.reset(options={"task": wrong})
        except FdivGymError:
            continue
        report.fail("reset", f"options={{'task': {wrong!r}}} was accepted, expected an EnvError")


def _first_text(env: Environment, task: Task) -> str:
    return task.text if isinstance(env, TextEnv) else texts(openings(env, [task])[0])


def check_seeding(env: Environment, report: Report, seconds: float) -> None:
    """Equal seeds give equal tasks."""

    def draws(seed: int) -> list[object]:
        first = env.reset(seed=seed)[1]
        return [info.get("task_hash") for info in (first, *(env.reset()[1] for _ in range(8)))]

    report.check("seeding", draws(7) == draws(7), "reset(seed=7) twice produced different tasks")
    if len(env.task_list(env.options.split)) > 20:
        report.check(
            "seeding", draws(7) != draws(8), "seeds 7 and 8 produced the same nine tasks: the seed is not used"
        )


def check_demonstrations(env: Environment, report: Report, seconds: float) -> None:
    """Demonstrations are pairs of strings or conversations about training tasks, determined by the generator."""
    import numpy as np

    with begun_tasks(env) as begun:
        found, again = [demonstrations_of(env, 12, np.random.default_rng(3)) for _ in range(2)]
    report.check("demonstrations", found == again, "the same generator state produced other demonstrations")
    heldout = {task.hash for task in env.task_list("heldout")} - {task.hash for task in env.task_list("train")}
    played = [task.text for task in begun if task.hash in heldout]
    report.check("demonstrations", not played, f"the held-out task {shown((played or [''])[0])} is demonstrated")
    leaked = _shown_heldout(env, [_messages(example) for example in found])
    report.check(
        "demonstrations", leaked is None, f"a demonstration contains the held-out prompt {shown(leaked or '')}"
    )


def _messages(example: tuple[str, str] | tuple[Message, ...]) -> tuple[Message, ...]:
    first, second = example[0], example[-1]
    if isinstance(first, str):
        return (Message("user", first), Message("assistant", str(second)))
    return tuple(message for message in example if isinstance(message, Message))


def _shown_heldout(env: Environment, examples: Sequence[tuple[Message, ...]]) -> str | None:
    """The first messages of a held-out task with which an example begins, and no training task does."""
    begins = {example[:end] for example in examples for end in range(1, len(example))}
    suspects = begins & _openings(env, "heldout")
    if not suspects or not (leaked := suspects - _openings(env, "train")):
        return None
    return texts(min(leaked, key=len))


def _openings(env: Environment, split: Split) -> set[tuple[Message, ...]]:
    tasks = env.task_list(split)
    if isinstance(env, TextEnv):
        return {task.messages for task in tasks}
    parts = (tasks[at : at + BEGUN] for at in range(0, len(tasks), BEGUN))
    return {opening for part in parts for opening in openings(env, part)}
