"""Environment: what text environments of one turn and of several have in common, as gymnasium environments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
import pydantic

from fdiv_gym.envs.episode import Episode, OneTurn
from fdiv_gym.envs.spaces import TextSpace
from fdiv_gym.errors import EnvError
from fdiv_gym.registry import options as _options
from fdiv_gym.registry.guard import score_range_of, tasks_of
from fdiv_gym.types.message import Message
from fdiv_gym.types.task import Task
from fdiv_gym.types.transcript import Transcript
from fdiv_gym.types.verdict import Verdict

Split = Literal["train", "heldout"]
Demonstration = tuple[str, str] | Sequence[Message]
"""A pair (prompt, response), or the messages of a conversation."""
ParseCalls = Callable[[str], list[dict[str, Any]]]
"""Reads the tool calls in a response: ``{"name": ..., "arguments": {...}}`` for each."""


class LengthPenalty(_options.Options):
    """A soft penalty on length: nothing up to ``start`` sampled tokens of an episode, then linear up to ``end``.

    Source: soft overlong punishment of DAPO (https://arxiv.org/abs/2503.14476), equation 13.
    """

    start: int = pydantic.Field(ge=0)
    """Sampled tokens of an episode without penalty."""
    end: int = pydantic.Field(ge=1)
    """Sampled tokens from which the whole penalty applies."""
    penalty: float = pydantic.Field(1.0, gt=0)
    """What is subtracted from the score at ``end`` and beyond."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> LengthPenalty:
        if self.end <= self.start:
            raise ValueError(f"end must be above start, got start = {self.start} and end = {self.end}")
        return self

    def at(self, tokens: float) -> float:
        """The penalty of an episode of so many sampled tokens."""
        return self.penalty * min(1.0, max(0.0, (tokens - self.start) / (self.end - self.start)))


class ScoringOptions(_options.Options):
    """Where and for how long responses are scored; read by the runner, not by a plugin."""

    isolate: bool | None = None
    """Score in a process of its own that is killed at the deadline; unset: a plugin of others is isolated if it can
    be, one of this project is not."""
    score_deadline_s: float = pydantic.Field(300.0, gt=0)
    """Seconds that scoring a batch may take, and a 64th of it more for each response: 600 for 64 responses. Applies to
    an isolated plugin and to one of others that scores in the process of the run."""


class RolloutOptions(ScoringOptions):
    """How episodes begin, and what length does to a score; read by the runner, not by a plugin."""

    system_prompt: str | None = None
    """A message of role ``system`` before the first message of each task that has none."""
    score_truncated: Literal["as_is", "zero", "mask"] = "as_is"
    """The score of an episode whose last response was cut off, or that ran out of turns or context: ``as_is``, as
    scored; ``zero``, 0 or what is nearest to it in the range of scores; ``mask``, none in training, so that it is not
    trained, and in evaluations as scored."""
    length_penalty: LengthPenalty | None = None
    """Lower the scores of long episodes."""


class Environment(gymnasium.Env[str, str], _options.Configurable):
    """Base of ``TextEnv`` and ``ConversationEnv``, and what trainers know of an environment.

    The observation is a text, the action a response. The reward is given once, when the episode ends, and
    ``info["verdict"]`` holds the Verdict then; trainers read only this.

    Attributes:
        score_range: the declared range of scores; a score outside it raises an error that names the plugin.
        has_reference_response: whether there is a response, or a player, of maximal score.
    """

    class Options(RolloutOptions):
        """Options of every environment."""

        split: Split = "train"
        """The split from which ``reset`` draws tasks: ``train`` or ``heldout``."""

    kind: ClassVar[str] = "environment"
    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - gymnasium declares it so
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    has_reference_response: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not issubclass(cls.Options, Environment.Options):
            raise EnvError(
                f"{cls.__qualname__}.Options must derive from the Options of its base, e.g. fg.TextEnv.Options"
            )

    def __init__(self, **options: Any) -> None:
        _options.Configurable.__init__(self, **options)
        self.observation_space = TextSpace()
        self.action_space = TextSpace()
        self._task_lists: dict[str, Sequence[Task]] = {}

    def tasks(self, split: Split) -> Sequence[Task]:
        """The tasks of one split; the two splits must not share a task. Called once for each split."""
        raise NotImplementedError("define tasks(split), which returns fdiv_gym.Task objects")

    def score_batch(self, tasks: Sequence[Task], said: Sequence[Any]) -> list[Verdict]:
        """Score what was said to each task: a response of a ``TextEnv``, a transcript of a ``ConversationEnv``."""
        raise NotImplementedError

    def begin(self, task: Task) -> Episode | Awaitable[Episode]:
        """A new episode about a task; the default ends after one response."""
        return OneTurn()

    def begin_batch(self, tasks: Sequence[Task]) -> Sequence[Episode]:
        """One new episode for each task, called instead of ``begin`` where a subclass overrides it."""
        raise NotImplementedError

    @property
    def max_turns(self) -> int:
        """Responses in an episode, at most."""
        return 1

    def said(self, transcript: Transcript) -> Any:
        """What ``score_batch`` gets of a finished episode; the default is its last response."""
        return transcript.response

    def use_template(self, shows_tools: bool, parse_calls: ParseCalls | None) -> None:
        """Told before episodes begin what the model's chat template can do; the default needs none of it."""

    def demonstrations(self, count: int, rng: np.random.Generator) -> Sequence[Demonstration]:
        """``count`` examples of mixed quality for the warm start of the embedded model, from the training split only.

        An example is a pair (prompt, response), or the messages of a conversation.
        """
        raise NotImplementedError

    # ---- optional in a subclass: metrics, counters and votes ---------------------------------------

    def metrics(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Metrics of this environment for an evaluation, e.g. ``{"attack_success": 0.2}``.

        Args:
            samples: records of samples.jsonl: ``prompt`` (a text, or a list of messages with ``role`` and
                ``content``), ``answer``, ``data``, ``response`` (the last one), ``transcript`` (the result of
                ``Transcript.to_dict``), ``verdict`` (of ``Verdict.to_dict``) and more.
        """
        return {}

    def counters(self) -> dict[str, float]:
        """Totals for the log since the environment was built, e.g. the cost of a judge."""
        return {}

    def vote(self, task: Task, response: str) -> str | None:
        """The vote of a response in a majority decision; equal answers give equal strings.

        A conversation votes by its last response. None means no vote. The default is the whole response.
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

    def _next_task(self, seed: int | None, options: dict[str, Any] | None) -> tuple[int, Task]:
        """The task of a new episode, and its index.

        Raises:
            EnvError: the task index is not an integer in range.
        """
        gymnasium.Env.reset(self, seed=seed)
        tasks = self.task_list(self.options.split)
        index = (options or {}).get("task")
        if index is None:
            index = int(self.np_random.integers(len(tasks)))
        elif isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < len(tasks):
            raise EnvError(f"options['task'] must be an integer from 0 to {len(tasks) - 1}, got {index!r}")
        return int(index), tasks[int(index)]
