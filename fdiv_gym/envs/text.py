"""TextEnv: one response to one prompt, with batch scoring for trainers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fdiv_gym.envs.base import Demonstration, Environment
from fdiv_gym.errors import EnvError
from fdiv_gym.registry.guard import boundary, check_verdict
from fdiv_gym.types.message import Message
from fdiv_gym.types.task import Task
from fdiv_gym.types.verdict import Verdict


class TextEnv(Environment):
    """Base of environments of one turn: the observation is a prompt, the action a response.

    A subclass implements ``tasks`` and ``score``; everything else has defaults. ``terminated`` means answered.
    """

    class Options(Environment.Options):
        """Options of every environment of one turn; nest ``class Options(fg.TextEnv.Options)`` to add more."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._current_task: Task | None = None

    def score(self, task: Task, response: str) -> Verdict:
        """Score one response. Must return a verdict for any text and must not raise."""
        raise NotImplementedError("define score(task, response), which returns an fdiv_gym.Verdict")

    def score_batch(self, tasks: Sequence[Task], responses: Sequence[str]) -> list[Verdict]:
        """Score response i as an answer to task i; override it if a batch is cheaper than a loop."""
        return [self.score(task, response) for task, response in zip(tasks, responses, strict=True)]

    def reference_response(self, task: Task) -> str | None:
        """A response of maximal score, by default the task's reference answer."""
        return task.answer

    def demonstrations(self, count: int, rng: np.random.Generator) -> Sequence[Demonstration]:
        """``count`` pairs (prompt, response) of mixed quality for the warm start of the embedded model.

        They come from the training split only. The default returns reference responses, half of them of other tasks.
        """
        tasks = self.task_list("train")
        picked = [tasks[int(i)] for i in rng.integers(len(tasks), size=count)]
        answers = [self.reference_response(task) or "" for task in picked]
        noisy = rng.random(count) < 0.5
        others = rng.permutation(count)
        chosen = [answers[others[i]] if noisy[i] else answers[i] for i in range(count)]
        return [
            (task.prompt, answer) if isinstance(task.prompt, str) else (*task.prompt, Message("assistant", answer))
            for task, answer in zip(picked, chosen, strict=True)
        ]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode; ``options={"task": i}`` picks task i of the split.

        Raises:
            EnvError: the task index is not an integer in range.
        """
        index, task = self._next_task(seed, options)
        self._current_task = task
        return task.text, {"task": index, "task_hash": task.hash}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take the response ``action``; the episode is over then.

        Raises:
            EnvError: the episode is over or has not started, the action is not a string, or the subclass broke
                the Verdict contract.
            PluginError: the subclass's ``score`` failed.
        """
        if self._current_task is None:
            raise EnvError("the episode is over (or has not started): call reset() first")
        if not isinstance(action, str):
            raise EnvError(f"an action must be a string, got {type(action).__name__}")
        task = self._current_task
        with boundary(self, "score"):
            verdict = check_verdict(self, self.score(task, action))
        self._current_task = None
        reward = self.unscorable_reward if verdict.score is None else verdict.score
        return "", reward, True, False, {"verdict": verdict, "task_hash": task.hash, "turn": 1}
