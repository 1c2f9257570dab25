"""TextEnv: a text task as a gymnasium environment, with batch scoring for trainers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
import pydantic

from fdiv_gym.envs.spaces import TextSpace
from fdiv_gym.errors import EnvError
from fdiv_gym.registry import options as _options
from fdiv_gym.registry.guard import boundary, check_verdict, follow_up_of, score_range_of, tasks_of
from fdiv_gym.types.task import Task
from fdiv_gym.types.verdict import Verdict

Split = Literal["train", "heldout"]


class ScoringOptions(_options.Options):
    """Where and for how long responses are scored; read by the runner, not by a plugin."""

    isolate: bool | None = None
    """Score in a process of its own that is killed at the deadline; unset: a plugin of others is isolated if it can
    be, one of this project is not."""
    score_deadline_s: float = pydantic.Field(300.0, gt=0)
    """Seconds that scoring a batch may take, and a 64th of it more for each response: 600 for 64 responses. Applies to
    an isolated plugin and to one of others that scores in the process of the run."""


class TextEnv(gymnasium.Env[str, str], _options.Configurable):
    """Base of text environments: the observation is a prompt, the action a response.

    A subclass implements ``tasks`` and ``score``; everything else has defaults. ``terminated`` means
    answered, ``truncated`` means that no turns are left. The reward is given once, when the episode ends.
    ``info["verdict"]`` holds the Verdict; trainers read only this.

    Attributes:
        score_range: the declared range of scores; a score outside it raises an error that names the plugin.
        has_reference_response: whether ``reference_response`` returns a response of maximal score.
        max_turns: largest number of responses in an episode (1 unless ``follow_up`` is overridden).
    """

    class Options(ScoringOptions):
        """Options of every environment; nest ``class Options(fg.TextEnv.Options)`` to add more."""

        split: Split = "train"
        """The split from which ``reset`` draws tasks: ``train`` or ``heldout``."""

    kind: ClassVar[str] = "environment"
    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - gymnasium declares it so
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    has_reference_response: ClassVar[bool] = True
    max_turns: int = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not issubclass(cls.Options, TextEnv.Options):
            raise EnvError(f"{cls.__qualname__}.Options must derive from fdiv_gym.TextEnv.Options")

    def __init__(self, **options: Any) -> None:
        _options.Configurable.__init__(self, **options)
        self.observation_space = TextSpace()
        self.action_space = TextSpace()
        self._task_lists: dict[str, Sequence[Task]] = {}
        self._current_task: Task | None = None
        self._turns_taken = 0

    # ---- implemented by a subclass ----------------------------------------------------------------

    def tasks(self, split: Split) -> Sequence[Task]:
        """The tasks of one split; the two splits must not share a task. Called once for each split."""
        raise NotImplementedError

    def score(self, task: Task, response: str) -> Verdict:
        """Score one response. Must return a verdict for any text and must not raise."""
        raise NotImplementedError

    def score_batch(self, tasks: Sequence[Task], responses: Sequence[str]) -> list[Verdict]:
        """Score response i as an answer to task i; override it if a batch is cheaper than a loop."""
        return [self.score(task, response) for task, response in zip(tasks, responses, strict=True)]

    def reference_response(self, task: Task) -> str | None:
        """A response of maximal score, by default the task's reference answer."""
        return task.answer

    def follow_up(self, task: Task, turn: int, response: str, verdict: Verdict) -> str | None:
        """The environment's next message, or None if the episode is over. ``turn`` counts from 1."""
        return None

    def demonstrations(self, count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
        """``count`` pairs (prompt, response) of mixed quality for the warm start of the embedded model.

        They come from the training split only. The default returns reference responses, half of them of other tasks.
        """
        tasks = self.task_list("train")
        picked = [tasks[int(i)] for i in rng.integers(len(tasks), size=count)]
        answers = [self.reference_response(task) or "" for task in picked]
        noisy = rng.random(count) < 0.5
        others = rng.permutation(count)
        return [(task.prompt, answers[others[i]] if noisy[i] else answers[i]) for i, task in enumerate(picked)]

    # ---- optional in a subclass: metrics, counters and votes ---------------------------------------

    def metrics(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Metrics of this environment for an evaluation, e.g. ``{"attack_success": 0.2}``.

        Args:
            samples: records of samples.jsonl: ``prompt``, ``answer``, ``data``, ``response``, ``verdict`` (the
                result of ``Verdict.to_dict``) and more.
        """
        return {}

    def counters(self) -> dict[str, float]:
        """Totals for the log since the environment was built, e.g. the cost of a judge."""
        return {}

    def vote(self, task: Task, response: str) -> str | None:
        """The vote of a response in a majority decision; equal answers give equal strings.

        None means no vote. The default is the whole response.
        """
        return response.strip() or None

    @property
    def unscorable_reward(self) -> float:
        """The reward that ``step`` returns without a score, because gymnasium needs a float: the minimum."""
        return score_range_of(self)[0]

    # ---- called by users --------------------------------------------------------------------------

    def task_list(self, split: Split) -> Sequence[Task]:
        """``tasks(split)``, built once.

        Raises:
            EnvError: the split is empty, or an item is not a Task.
            PluginError: ``tasks`` failed.
        """
        if split not in self._task_lists:
            self._task_lists[split] = tasks_of(self, split)
        return self._task_lists[split]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode; ``options={"task": i}`` picks task i of the split.

        Raises:
            EnvError: the task index is not an integer in range.
        """
        super().reset(seed=seed)
        tasks = self.task_list(self.options.split)
        index = (options or {}).get("task")
        if index is None:
            index = int(self.np_random.integers(len(tasks)))
        elif isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < len(tasks):
            raise EnvError(f"options['task'] must be an integer from 0 to {len(tasks) - 1}, got {index!r}")
        self._current_task, self._turns_taken = tasks[int(index)], 0
        return self._current_task.prompt, {"task": int(index), "task_hash": self._current_task.hash}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take the response ``action``; see the class for the meaning of the five values.

        Raises:
            EnvError: the episode is over or has not started, the action is not a string, or the subclass broke
                the Verdict contract.
            PluginError: the subclass's ``score`` or ``follow_up`` failed.
        """
        if self._current_task is None:
            raise EnvError("the episode is over (or has not started): call reset() first")
        if not isinstance(action, str):
            raise EnvError(f"an action must be a string, got {type(action).__name__}")
        task = self._current_task
        with boundary(self, "score"):
            verdict = check_verdict(self, self.score(task, action))
        self._turns_taken += 1
        reply = follow_up_of(self, task, self._turns_taken, action, verdict)
        terminated = reply is None
        truncated = not terminated and self._turns_taken >= self.max_turns
        reward = 0.0
        if terminated or truncated:
            self._current_task = None
            reward = self.unscorable_reward if verdict.score is None else verdict.score
        info = {"verdict": verdict, "task_hash": task.hash, "turn": self._turns_taken}
        return reply or "", reward, terminated, truncated, info
