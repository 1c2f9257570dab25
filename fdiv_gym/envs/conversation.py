"""ConversationEnv: conversations of several turns, each with a state of its own, judged once at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from fdiv_gym.envs.base import Demonstration, Environment, ParseCalls
from fdiv_gym.envs.calls import DEADLINE_S
from fdiv_gym.envs.episode import Episode
from fdiv_gym.envs.play import Conversation, Player, advance, judged_alone, play
from fdiv_gym.errors import EnvError, PluginError
from fdiv_gym.types.message import Message
from fdiv_gym.types.task import Task
from fdiv_gym.types.transcript import Transcript
from fdiv_gym.types.verdict import Verdict


class ConversationEnv(Environment):
    """Base of environments of several turns.

    A subclass implements ``tasks``, ``begin`` and ``score``. A conversation ends when its episode says so, after
    ``max_turns`` responses, or when the next response would not fit into the model's context; then it is judged once.

    Attributes:
        default_turns: ``max_turns`` if the option is not given.
        tools: JSON schemas of the functions that the model may call; a chat template that knows tools shows them.
        shows_tools: whether the model's chat template shows ``tools``; set before episodes begin.
        parse_calls: reads the tool calls of a response in the format that the model's own tokenizer declares; None if
            it declares none. Set before episodes begin.
    """

    class Options(Environment.Options):
        """Options of every conversation; nest ``class Options(fg.ConversationEnv.Options)`` to add more."""

        max_turns: int | None = pydantic.Field(None, ge=1)
        """Responses in an episode, at most; by default what the environment suits."""
        returns: Literal["final", "sum", "discounted"] = "final"
        """The return of an episode: ``final``, the score of its transcript; ``sum``, that and the rewards of all turns;
        ``discounted``, the same with ``discount`` to the power of the turns before each."""
        discount: float = pydantic.Field(0.95, gt=0, le=1)
        """For ``returns = "discounted"``; refused with another."""
        reply_deadline_s: float = pydantic.Field(DEADLINE_S, gt=0)
        """Seconds that an episode may take for one reply; then it ends with a verdict of status ``timeout``."""

        @pydantic.model_validator(mode="after")
        def _discounts(self) -> ConversationEnv.Options:
            default = type(self).model_fields["discount"].default  # written out in every run folder
            if self.returns != "discounted" and self.discount != default:
                raise ValueError(
                    f'discount = {self.discount} has no effect with returns = "{self.returns}": set returns = '
                    f'"discounted", or leave discount at its default, {default}'
                )
            return self

    default_turns: ClassVar[int] = 8
    tools: Sequence[dict[str, Any]] = ()
    shows_tools: bool = False
    parse_calls: ParseCalls | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._live: Conversation | None = None

    # ---- implemented by a subclass ----------------------------------------------------------------

    def begin(self, task: Task) -> Episode | Awaitable[Episode]:
        """A new conversation about a task; a method or ``async def``.

        To begin all of a batch at once, override ``begin_batch(tasks)``, which returns an episode for each task.
        """
        raise NotImplementedError("define begin(task), which returns an fdiv_gym.Episode")

    def score(self, task: Task, transcript: Transcript) -> Verdict:
        """Judge a finished conversation. Must return a verdict for any responses and must not raise."""
        raise NotImplementedError("define score(task, transcript), which returns an fdiv_gym.Verdict")

    def score_batch(self, tasks: Sequence[Task], transcripts: Sequence[Transcript]) -> list[Verdict]:
        """Judge transcript i as one about task i; override it if a batch is cheaper than a loop."""
        return [self.score(task, transcript) for task, transcript in zip(tasks, transcripts, strict=True)]

    def reference_player(self, task: Task) -> Player | None:
        """A player that reaches the maximal score, with a state of its own; None if there is none."""
        return None

    def demonstrations(self, count: int, rng: np.random.Generator) -> Sequence[Demonstration]:
        """``count`` conversations for the warm start of the embedded model.

        The default plays the reference player on training tasks. Override it with players of mixed quality: a model
        that is perfect already has nothing to learn.

        Raises:
            EnvError: a task has no reference player.
        """
        tasks = self.task_list("train")
        found: list[Demonstration] = []
        for index in rng.integers(len(tasks), size=count):
            player = self.reference_player(tasks[int(index)])
            if player is None:
                raise EnvError("there is no reference player to demonstrate: override demonstrations()")
            found.append(self.play(tasks[int(index)], player).messages)
        return found

    # ---- called by the runner and by users --------------------------------------------------------

    def play(self, task: Task, player: Player) -> Transcript:
        """A conversation with a player, e.g. for ``demonstrations``.

        Raises:
            EnvError: the player cannot be called, or returned no string.
            PluginError: code of the environment failed.
        """
        return play(self, task, player)

    def said(self, transcript: Transcript) -> Transcript:
        """The whole transcript is judged."""
        return transcript

    def use_template(self, shows_tools: bool, parse_calls: ParseCalls | None) -> None:
        """Keep what the model's chat template can do, for the episodes."""
        self.shows_tools, self.parse_calls = shows_tools, parse_calls

    @property
    def max_turns(self) -> int:
        """Responses in an episode, at most."""
        turns: int | None = self.options.max_turns
        return self.default_turns if turns is None else turns

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode; ``options={"task": i}`` picks task i of the split.

        Returns:
            The texts of the first messages, one below the other; ``info["messages"]`` holds the messages.

        Raises:
            EnvError: the task index is not an integer in range.
            PluginError: ``begin`` or ``opening`` failed, or the episode opens with no message to answer.
        """
        index, task = self._next_task(seed, options)
        self._leave()
        live = Conversation.begin(self, [task])[0]
        if live.problem is not None:
            live.close()
            raise PluginError(live.problem.detail)
        self._live = live
        said = tuple(live.messages)
        return texts(said), {"task": index, "task_hash": task.hash, "messages": said}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Say ``action``: the texts of the environment's next messages, and at the end the reward and the verdict.

        A reply that fails ends the episode with a verdict of status ``error``.

        Raises:
            EnvError: the episode is over or has not started, the action is not a string, or the subclass broke the
                Verdict contract.
            PluginError: the subclass's ``score`` failed.
        """
        if self._live is None:
            raise EnvError("the episode is over (or has not started): call reset() first")
        if not isinstance(action, str):
            raise EnvError(f"an action must be a string, got {type(action).__name__}")
        live = self._live
        live.say(action)
        before = len(live.messages)
        advance(self, [live])
        said = tuple(live.messages[before:])
        info: dict[str, Any] = {"task_hash": live.task.hash, "turn": live.turns, "messages": said}
        if live.end is None:
            return texts(said), 0.0, False, False, info
        try:
            verdict = judged_alone(self, live)
        finally:
            self._leave()
        reward = self.unscorable_reward if verdict.score is None else verdict.score
        return texts(said), reward, live.end == "done", live.end != "done", {**info, "verdict": verdict}

    def close(self) -> None:
        """Close the episode that ``reset`` began."""
        self._leave()

    def _leave(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.close()


def texts(messages: Sequence[Message]) -> str:
    """The contents of messages, one below the other."""
    return "\n".join(message.content for message in messages)
