"""Events of scoring: tasks that a scorer changes, splits that share tasks, a scorer that raises."""

from __future__ import annotations

import json
from collections.abc import Sequence

import fdiv_gym as fg
from fdiv_gym.registry import label_of
from fdiv_gym_accelerate.events import EventLog

RAISES_ON = 0.1
"""Share of a step's responses with the status ``error`` from which on the event ``scorer_raises`` occurs."""


class ScoringWatch:
    """Compares the tasks of one step before and after scoring, and counts its errors.

    Args:
        events: where they are reported.
        env: the run's environment.
    """

    def __init__(self, events: EventLog, env: fg.Environment) -> None:
        self._events, self._env = events, env
        self._tasks: list[fg.Task] = []
        self._before: list[str] = []

    def before(self, step: int, tasks: Sequence[fg.Task]) -> None:
        """Remember tasks of a step that are about to be scored; at the first step also compare the splits."""
        if step == 1 and not self._tasks:  # not at every start: the events of a resumed run are those of a whole one
            self._compare_splits()
        self._tasks += tasks
        self._before += [_content(task) for task in tasks]

    def after(self, groups: Sequence[fg.TrajectoryGroup]) -> None:
        """Report what happened to the tasks and verdicts of the step."""
        changed = [
            (old, new) for old, task in zip(self._before, self._tasks, strict=True) if (new := _content(task)) != old
        ]
        if changed:
            old, new = changed[0]
            self._events.report(
                "mutated_task",
                f"scoring by {label_of(self._env)} changed {len(changed)} of {len(self._tasks)} tasks, the first from "
                f"{old[:120]} to {new[:120]}: let the scorer work on a copy of what it changes",
                tasks=len(changed),
            )
        verdicts = [t.verdict for group in groups for t in group.trajectories if t.verdict is not None]
        errors = [verdict for verdict in verdicts if verdict.status is fg.Status.ERROR]
        share = len(errors) / max(1, len(verdicts))
        if share >= RAISES_ON:
            self._events.report(
                "scorer_raises",
                f"scoring by {label_of(self._env)} failed on {share:.0%} of the step's responses, first with "
                f"{errors[0].detail!r}: these responses have no score; correct the scorer",
                share=share,
            )

    def _compare_splits(self) -> None:
        train, heldout = ({task.hash for task in self._env.task_list(split)} for split in ("train", "heldout"))
        shared = len(train & heldout)
        if shared:
            self._events.report(
                "shared_tasks",
                f"{shared} of the {len(heldout)} held-out tasks of {label_of(self._env)} are training tasks too, so "
                "evaluations measure memory: remove them from one split",
                tasks=shared,
            )


def _content(task: fg.Task) -> str:
    # The hash of a task is computed once and does not show a change.
    return json.dumps([task.prompt, task.answer, dict(task.data)], sort_keys=True, default=repr)
