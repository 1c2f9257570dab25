"""Conversations with an environment, one or thousands at once; the policy's side is the caller's."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fdiv_gym.envs.base import Environment
from fdiv_gym.envs.calls import DEADLINE_S, Failed, called
from fdiv_gym.envs.episode import Episode, OneTurn, Reply
from fdiv_gym.errors import EnvError, FdivGymError, PluginError
from fdiv_gym.registry.guard import (
    boundary,
    check_done,
    check_outcome,
    check_reward,
    check_said,
    check_verdicts,
    label_of,
    max_turns_of,
)
from fdiv_gym.registry.messages import INTERRUPTS, cause_of, shorten
from fdiv_gym.types.message import Message
from fdiv_gym.types.task import Task
from fdiv_gym.types.transcript import End, Transcript
from fdiv_gym.types.verdict import Verdict

log = logging.getLogger(__name__)

Player = Callable[[Sequence[Message]], str]
"""Gives the next response to the messages so far."""


class Conversation:
    """One conversation: its messages, and whether and why it has ended.

    Args:
        env: its environment.
        task: what it is about.

    Attributes:
        episode: the environment's side of it; None before it began, and if it could not begin.
        messages: all so far.
        opening: number of messages before the first response.
        turns: number of responses.
        end: None while it goes on.
        problem: the verdict of a conversation that failed, instead of a judge's.
    """

    def __init__(self, env: Environment, task: Task) -> None:
        self.env, self.task = env, task
        self.episode: Episode | None = None
        self.messages: list[Message] = [*_system(env, task.messages), *task.messages]
        self.opening = len(self.messages)
        self.turns = 0
        self.end: End | None = None
        self.problem: Verdict | None = None
        self._rewards: list[float] = []
        self._outcome: dict[str, Any] = {}
        self._cut_off = self._read = self._closed = False

    @classmethod
    def begin(cls, env: Environment, tasks: Sequence[Task]) -> list[Conversation]:
        """One conversation for each task; one that cannot begin has ended with a verdict of status ``error``."""
        found = [cls(env, task) for task in tasks]
        try:
            _begin(env, found)
            opening = [one for one in found if one._has_state and one.end is None]
            said = called(env, "opening", [one._say_first for one in opening], deadline_s(env))
            for one, first in zip(opening, said, strict=True):
                one._open(first)
        except BaseException:
            close_all(found)
            raise
        return found

    def say(self, response: str, *, cut_off: bool = False) -> None:
        """Add a response of the policy; ``cut_off`` if it ran out of tokens.

        Raises:
            EnvError: the response, of a player, is no string.
        """
        if not isinstance(response, str):
            raise EnvError(f"{label_of(self.env)}: a player must return a string, got {shorten(response)}")
        self.messages.append(Message("assistant", response))
        self.turns += 1
        self._cut_off = cut_off

    def hear(self, answer: object) -> None:
        """Add the environment's answer to the last response; one that is none ends the conversation."""
        if isinstance(answer, Failed):
            self.fail(answer)
            return
        reply = answer if isinstance(answer, Reply) else Reply(answer, done=answer is None)  # type: ignore[arg-type]
        try:
            said = () if reply.said is None else check_said(self.env, "reply", reply.said)
            done = check_done(self.env, reply.done)
            self._rewards.append(check_reward(self.env, reply.reward))
        except FdivGymError as error:
            self.fail(Failed(str(error)))
            return
        self.messages += said
        if done or not said:
            self.end = "done"

    def stop(self, end: End) -> None:
        """End a conversation that has not ended by itself."""
        self.end = self.end or end

    def fail(self, failed: Failed) -> None:
        """End it with a verdict that names what failed."""
        self.problem = Verdict.timeout(failed.message) if failed.late else Verdict.error(failed.message)
        self.end = self.end or "failed"

    def close(self) -> None:
        """Read the episode's outcome and close it; see ``close_all``."""
        close_all([self])

    def transcript(self) -> Transcript:
        """What is judged: the conversation so far."""
        rewards = tuple(self._rewards) if any(self._rewards) else ()
        end: End = "failed" if self.problem is not None and self.turns else self.end or "done"
        return Transcript(tuple(self.messages), self.opening, rewards, self._outcome, end, self._cut_off)

    @property
    def _has_state(self) -> bool:
        return self.episode is not None and not isinstance(self.episode, OneTurn)

    # The calls into the environment. They keep what they got and mark what they do at once: Ctrl-C may come in between.

    def _begin(self) -> Any:
        got = self.env.begin(self.task)
        return self._begin_later(got) if inspect.isawaitable(got) else self._take_episode(got)

    async def _begin_later(self, got: Awaitable[object]) -> object:
        return self._take_episode(await got)

    def _take_episode(self, got: object) -> object:
        self.episode = got if isinstance(got, Episode) else None
        return got

    def _say_first(self) -> Any:
        assert self.episode is not None
        return self.episode.opening()

    def _answer(self) -> Any:
        assert self.episode is not None
        return self.episode.reply(self.messages[-1].content)

    def _tell_outcome(self) -> Any:
        assert self.episode is not None
        self._read = True
        return self.episode.outcome()

    def _release(self) -> Any:
        assert self.episode is not None
        self._closed = True
        return self.episode.close()

    def _open(self, said: object) -> None:
        try:
            if isinstance(said, Failed):
                self.fail(said)
                return
            messages = self.task.messages if said is None else check_said(self.env, "opening", said, opening=True)
        except FdivGymError as error:
            self.fail(Failed(str(error)))
            return
        self.messages = [*_system(self.env, messages), *messages]
        self.opening = len(self.messages)

    def _take_outcome(self, outcome: object) -> None:
        try:
            failed = outcome if isinstance(outcome, Failed) else None
            self._outcome = {} if failed is not None else check_outcome(self.env, outcome)
        except FdivGymError as error:
            failed = Failed(str(error))
        if failed is not None and self.problem is None:
            self.fail(failed)


def _system(env: Environment, messages: Sequence[Message]) -> tuple[Message, ...]:
    """The message of ``env.system_prompt``, where the environment says none of that role itself."""
    text = getattr(getattr(env, "options", None), "system_prompt", None)
    return () if text is None or messages[0].role == "system" else (Message("system", text),)


def deadline_s(env: Environment) -> float:
    """Seconds that an episode may take for one call."""
    return float(getattr(getattr(env, "options", None), "reply_deadline_s", DEADLINE_S))


def _begin(env: Environment, conversations: Sequence[Conversation]) -> None:
    """Begin the episodes of new conversations; one by one if the environment's batch fails."""
    if getattr(env.begin_batch, "__func__", None) is not Environment.begin_batch:
        failed = _begin_batch(env, conversations)
        if failed is None:
            return
        if len(conversations) == 1:
            conversations[0].fail(failed)
        else:
            for one in conversations:
                _begin(env, [one])
        return
    for one, got in zip(
        conversations, called(env, "begin", [c._begin for c in conversations], deadline_s(env)), strict=True
    ):
        if isinstance(got, Failed):
            one.fail(got)
        elif not isinstance(got, Episode):
            one.fail(Failed(f"{label_of(env)}: begin must return an fdiv_gym.Episode, got {shorten(got)}"))


def _begin_batch(env: Environment, conversations: Sequence[Conversation]) -> Failed | None:
    """Begin them by ``begin_batch``; the failure if that gives anything but an episode for each."""
    try:
        with boundary(env, "begin_batch"):
            episodes: list[object] = list(env.begin_batch([one.task for one in conversations]))
    except FdivGymError as error:
        return Failed(str(error))
    except GeneratorExit as error:  # see ``called``
        return Failed(f"{label_of(env)} failed in begin_batch: {cause_of(error)}")
    if len(episodes) == len(conversations) and all(isinstance(episode, Episode) for episode in episodes):
        for one, episode in zip(conversations, episodes, strict=True):
            one._take_episode(episode)
        return None
    unused = [episode.close for episode in episodes if isinstance(episode, Episode)]
    _warn_of(called(env, "close", unused, deadline_s(env)))
    expected = f"must return an fdiv_gym.Episode for each of {len(conversations)} tasks"
    return Failed(f"{label_of(env)}: begin_batch {expected}, got {shorten(episodes)}")


def advance(env: Environment, conversations: Sequence[Conversation]) -> None:
    """Let the environment answer the last response of each; what fails ends with a verdict of its own.

    Asynchronous replies are awaited together. One that takes longer than ``env.reply_deadline_s`` ends its episode with
    a verdict of status ``timeout``; one that never returns ends the run.

    Raises:
        PluginError: ``env.max_turns`` is a property that failed.
        EnvError: it is not a positive integer.
    """
    answers = called(env, "reply", [one._answer for one in conversations], deadline_s(env))
    for one, answer in zip(conversations, answers, strict=True):
        one.hear(answer)
    turns = max_turns_of(env)
    for one in conversations:
        if one.turns >= turns:
            one.stop("turns")


def close_all(conversations: Sequence[Conversation]) -> None:
    """Read the outcome of each episode and close it, once; an episode that fails in this costs no other.

    An outcome that fails is a verdict of status ``error``; what fails in closing is logged. Ctrl-C is raised when the
    other episodes are closed.
    """
    interrupt: BaseException | None = None
    while still := [one for one in conversations if one._has_state and not one._closed]:
        env = still[0].env
        try:
            unread = [one for one in still if not one._read]
            outcomes = called(env, "outcome", [one._tell_outcome for one in unread], deadline_s(env))
            for one, outcome in zip(unread, outcomes, strict=True):
                one._take_outcome(outcome)
            _warn_of(called(env, "close", [one._release for one in still], deadline_s(env)))
        except INTERRUPTS as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _warn_of(results: Sequence[object]) -> None:
    failed = [result for result in results if isinstance(result, Failed)]
    if failed:
        log.warning("%s%s", failed[0].message, f" (and {len(failed) - 1} more)" if failed[1:] else "")


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
    if not math.isfinite(total):
        return Verdict.error(f"{label_of(env)}: the rewards of the turns add up to {total}")
    return Verdict(total, verdict.status, {**verdict.components, "final": verdict.score}, verdict.detail)


def play(env: Environment, task: Task, player: Player) -> Transcript:
    """Play one conversation with a player, e.g. the reference player.

    Raises:
        EnvError: the player cannot be called, or returned no string.
        PluginError: code of the environment failed.
    """
    if not callable(player):
        raise EnvError(f"{label_of(env)}: a player must be a function of the messages so far, got {shorten(player)}")
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
