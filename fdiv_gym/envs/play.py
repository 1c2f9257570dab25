"""Conversations with an environment, one or thousands at once; the policy's side is the caller's."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fdiv_gym.envs.base import Environment
from fdiv_gym.envs.episode import Episode, OneTurn, Reply
from fdiv_gym.errors import FdivGymError, PluginError
from fdiv_gym.registry.guard import (
    boundary,
    check_reward,
    check_said,
    check_verdicts,
    label_of,
    max_turns_of,
    outcome_of,
)
from fdiv_gym.registry.messages import INTERRUPTS, cause_of, shorten
from fdiv_gym.registry.watchdog import watchdog
from fdiv_gym.rewards.judge import run_async
from fdiv_gym.types.message import Message
from fdiv_gym.types.task import Task
from fdiv_gym.types.transcript import End, Transcript
from fdiv_gym.types.verdict import Verdict

log = logging.getLogger(__name__)

Player = Callable[[Sequence[Message]], str]
"""Gives the next response to the messages so far."""
DEADLINE_S = 60.0


class Conversation:
    """One conversation: its messages, and whether and why it has ended.

    Args:
        env: its environment.
        task: what it is about.
        episode: the environment's side of it; None if that could not begin.

    Attributes:
        messages: all so far.
        opening: number of messages before the first response.
        turns: number of responses.
        end: None while it goes on.
        problem: the verdict of a conversation that failed, instead of a judge's.
    """

    def __init__(self, env: Environment, task: Task, episode: Episode | None) -> None:
        self.env, self.task, self.episode = env, task, episode
        self.messages: list[Message] = [*_system(env, task.messages), *task.messages]
        self.opening = len(self.messages)
        self.turns = 0
        self.end: End | None = None
        self.problem: Verdict | None = None
        self._rewards: list[float] = []
        self._outcome: dict[str, Any] = {}
        self._cut_off = False
        self._closed = False

    @classmethod
    def begin(cls, env: Environment, tasks: Sequence[Task]) -> list[Conversation]:
        """One conversation for each task; one that cannot begin has ended with a verdict of status ``error``."""
        found = []
        for task, episode in zip(tasks, _episodes(env, tasks), strict=True):
            conversation = cls(env, task, episode if isinstance(episode, Episode) else None)
            if isinstance(episode, Episode):
                conversation._open()
            else:
                conversation.fail(episode)
            found.append(conversation)
        return found

    def say(self, response: str, *, cut_off: bool = False) -> None:
        """Add a response of the policy; ``cut_off`` if it ran out of tokens."""
        self.messages.append(Message("assistant", response))
        self.turns += 1
        self._cut_off = cut_off

    def hear(self, answer: object) -> None:
        """Add the environment's answer to the last response.

        Raises:
            EnvError: it is no answer.
        """
        reply = answer if isinstance(answer, Reply) else Reply(() if answer is None else answer, done=answer is None)  # type: ignore[arg-type]
        said = check_said(self.env, "reply", reply.said)
        self._rewards.append(check_reward(self.env, reply.reward))
        self.messages += said
        if reply.done or not said:
            self.end = "done"

    def stop(self, end: End) -> None:
        """End a conversation that has not ended by itself."""
        self.end = self.end or end

    def fail(self, error: BaseException) -> None:
        """End it with a verdict that names what failed."""
        late = isinstance(error, TimeoutError)
        self.problem = Verdict.timeout(str(error)) if late else Verdict.error(str(error))
        self.end = self.end or "done"

    def close(self) -> None:
        """Read the episode's outcome and close it; may be called more than once. Never raises but for Ctrl-C."""
        if self._closed or self.episode is None:
            return
        self._closed = True
        try:
            self._outcome = outcome_of(self.env, self.episode)
        except FdivGymError as error:
            if self.problem is None:
                self.problem = Verdict.error(str(error))
        try:
            with boundary(self.env, "close"):
                self.episode.close()
        except FdivGymError as error:
            log.warning("%s", error)

    def transcript(self) -> Transcript:
        """What is judged: the conversation so far."""
        rewards = tuple(self._rewards) if any(self._rewards) else ()
        return Transcript(tuple(self.messages), self.opening, rewards, self._outcome, self.end or "done", self._cut_off)

    def _open(self) -> None:
        assert self.episode is not None
        try:
            with boundary(self.env, "opening"):
                said = self.episode.opening()
                messages = self.task.messages if said is None else check_said(self.env, "opening", said, opening=True)
        except FdivGymError as error:
            self.fail(error)
            return
        self.messages = [*_system(self.env, messages), *messages]
        self.opening = len(self.messages)


def _system(env: Environment, messages: Sequence[Message]) -> tuple[Message, ...]:
    """The message of ``env.system_prompt``, where the environment says none of that role itself."""
    text = getattr(getattr(env, "options", None), "system_prompt", None)
    return () if text is None or messages[0].role == "system" else (Message("system", text),)


def _episodes(env: Environment, tasks: Sequence[Task]) -> list[Episode | FdivGymError]:
    """An episode for each task, or why there is none; one by one if the batch fails."""
    try:
        with boundary(env, "begin_batch"):
            episodes = list(env.begin_batch(tasks))
            if len(episodes) == len(tasks) and all(isinstance(episode, Episode) for episode in episodes):
                return list(episodes)
            raise PluginError(
                f"begin must return an fdiv_gym.Episode for each of {len(tasks)} tasks, got {shorten(episodes)}"
            )
    except FdivGymError as error:
        if len(tasks) == 1:
            return [error]
    return [found for task in tasks for found in _episodes(env, [task])]


def advance(env: Environment, conversations: Sequence[Conversation]) -> None:
    """Let the environment answer the last response of each; what fails ends with a verdict of its own.

    Asynchronous replies are awaited together. One that takes longer than ``env.reply_deadline_s`` ends its episode with
    a verdict of status ``timeout``; a synchronous one that never returns ends the run.

    Raises:
        EnvError: ``env.max_turns`` is not a positive integer.
    """
    limit = getattr(getattr(env, "options", None), "reply_deadline_s", DEADLINE_S)
    waiting: list[tuple[Conversation, Awaitable[Any]]] = []
    for conversation in conversations:
        with _failing(conversation):
            answer = _reply(env, conversation, limit)
            if inspect.isawaitable(answer):
                waiting.append((conversation, answer))
            else:
                conversation.hear(answer)
    if waiting:
        answers = run_async(lambda: _all([_limited(env, awaitable, limit) for _, awaitable in waiting]))
        for (conversation, _), answer in zip(waiting, answers, strict=True):
            with _failing(conversation):
                if isinstance(answer, BaseException):
                    raise answer
                conversation.hear(answer)
    turns = max_turns_of(env)
    for conversation in conversations:
        if conversation.turns >= turns:
            conversation.stop("turns")


def _reply(env: Environment, conversation: Conversation, limit: float) -> Any:
    """The reply, or what is to be awaited for it.

    Raises:
        PluginError: it failed.
        TimeoutError: it took too long.
    """
    assert conversation.episode is not None
    response = conversation.messages[-1].content
    if isinstance(conversation.episode, OneTurn):
        return None
    begun = time.monotonic()
    # Killed late: a reply that is only slow costs its episode, not the run.
    watched = watchdog.watch(label_of(env), "a reply (env.reply_deadline_s)", 2 * limit + 5)
    with watched, boundary(env, "reply"):
        answer = conversation.episode.reply(response)
    if time.monotonic() - begun > limit:
        raise TimeoutError(f"a reply took more than {limit:g} s (env.reply_deadline_s)")
    return answer


async def _all(replies: Sequence[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*replies, return_exceptions=True))


async def _limited(env: Environment, awaitable: Awaitable[Any], limit: float) -> Any:
    try:
        with boundary(env, "reply"):
            async with asyncio.timeout(limit):
                return await awaitable
    except PluginError as error:
        if isinstance(error.__cause__, TimeoutError):
            raise TimeoutError(f"a reply took more than {limit:g} s (env.reply_deadline_s)") from None
        raise


@contextlib.contextmanager
def _failing(conversation: Conversation) -> Any:
    """What is raised inside ends the conversation only."""
    try:
        yield
    except INTERRUPTS:
        raise
    except (FdivGymError, TimeoutError) as error:
        conversation.fail(error)
    except Exception as error:
        conversation.fail(PluginError(cause_of(error)))


def judged_alone(env: Environment, conversation: Conversation) -> Verdict:
    """The verdict of one finished conversation, judged in this process.

    Raises:
        EnvError: the environment broke the Verdict contract.
        PluginError: ``score`` failed.
    """
    conversation.close()
    if conversation.problem is not None:
        return conversation.problem
    transcript = conversation.transcript()
    with boundary(env, "score"):
        (verdict,) = check_verdicts(env, env.score_batch([conversation.task], [env.said(transcript)]), 1, "score_batch")
    return with_returns(env, transcript, verdict)


def with_returns(env: Environment, transcript: Transcript, verdict: Verdict) -> Verdict:
    """The verdict with the rewards of the turns added, as ``env.returns`` says; ``final`` leaves it unchanged."""
    returns = getattr(getattr(env, "options", None), "returns", "final")
    if returns == "final" or verdict.score is None:
        return verdict
    discount = env.options.discount if returns == "discounted" else 1.0
    rewards = transcript.rewards or (0.0,) * len(transcript.responses)
    total = sum(discount**turn * reward for turn, reward in enumerate(rewards))
    total += discount ** max(len(transcript.responses) - 1, 0) * verdict.score
    return Verdict(total, verdict.status, {**verdict.components, "final": verdict.score}, verdict.detail)


def play(env: Environment, task: Task, player: Player) -> Transcript:
    """Play one conversation with a player, e.g. the reference player.

    Raises:
        PluginError: code of the environment failed.
    """
    conversation = Conversation.begin(env, [task])[0]
    try:
        while conversation.end is None:
            conversation.say(player(tuple(conversation.messages)))
            advance(env, [conversation])
    finally:
        conversation.close()
    if conversation.problem is not None:
        raise PluginError(conversation.problem.detail)
    return conversation.transcript()
