"""Whole conversations for the conformance kit: who plays, what was said, and the verdict."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from fdiv_gym.envs.base import Environment
from fdiv_gym.envs.conversation import ConversationEnv
from fdiv_gym.envs.play import Conversation, Player, advance
from fdiv_gym.registry.guard import check_verdict
from fdiv_gym.testing.hostile import GARBAGE, shown, within
from fdiv_gym.types.message import Message
from fdiv_gym.types.task import Task
from fdiv_gym.types.transcript import Transcript
from fdiv_gym.types.verdict import Verdict


@dataclass(frozen=True)
class Played:
    """A finished conversation, with the verdict of ``score``, or of what failed in its episode."""

    task: Task
    transcript: Transcript
    verdict: Verdict
    failed: bool


def script(responses: Sequence[str], then: str = GARBAGE) -> Player:
    """A player that says these responses in turn, and ``then`` from there on."""
    said = itertools.chain(responses, itertools.repeat(then))
    return lambda messages: next(said)


def played(env: ConversationEnv, pairs: Sequence[tuple[Task, Player]], seconds: float) -> list[Played]:
    """Play conversations at once, turn by turn, and judge each.

    Args:
        env: the environment.
        pairs: a task and who plays, for each.
        seconds: time limit for all of them together.

    Raises:
        TimeoutError: it took longer.
        FdivGymError: the environment broke the Verdict contract.
    """
    return within(seconds, partial(_played, env, pairs))


def alone(env: ConversationEnv, pairs: Sequence[tuple[Task, Player]], seconds: float) -> list[Played]:
    """The same, one after the other."""
    return [done for pair in pairs for done in played(env, [pair], seconds)]


def _played(env: ConversationEnv, pairs: Sequence[tuple[Task, Player]]) -> list[Played]:
    talks = Conversation.begin(env, [task for task, _ in pairs])
    players = dict(zip(map(id, talks), (player for _, player in pairs), strict=True))
    try:
        while playing := [talk for talk in talks if talk.end is None]:
            for talk in playing:
                talk.say(players[id(talk)](tuple(talk.messages)))
            advance(env, playing)
    finally:
        for talk in talks:
            talk.close()
    return [_judged(env, talk) for talk in talks]


def _judged(env: ConversationEnv, talk: Conversation) -> Played:
    transcript = talk.transcript()
    verdict = talk.problem or check_verdict(env, env.score(talk.task, transcript))
    return Played(talk.task, transcript, verdict, talk.problem is not None)


def openings(env: Environment, tasks: Sequence[Task]) -> list[tuple[Message, ...]]:
    """The first messages of a conversation about each task; those of the task where it cannot begin."""
    talks = Conversation.begin(env, tasks)
    for talk in talks:
        talk.close()
    return [tuple(talk.messages) for talk in talks]


@contextmanager
def begun_tasks(env: Environment) -> Iterator[list[Task]]:
    """The tasks about which the environment begins conversations inside the block."""
    tasks: list[Task] = []
    if not isinstance(env, ConversationEnv):
        yield tasks
        return
    begin, begin_batch = env.begin, env.begin_batch
    own = type(env).begin_batch is not Environment.begin_batch

    def noted(task: Task) -> Any:
        tasks.append(task)
        return begin(task)

    def noted_batch(some: Sequence[Task]) -> Any:
        tasks.extend(some)
        return begin_batch(some)

    name = "begin_batch" if own else "begin"
    vars(env)[name] = noted_batch if own else noted
    try:
        yield tasks
    finally:
        del vars(env)[name]


def difference(first: Played, second: Played) -> str:
    """Where two plays differ, as a part of a message; empty if they do not."""
    ours, theirs = first.transcript, second.transcript
    for i, (a, b) in enumerate(itertools.zip_longest(ours.messages, theirs.messages)):
        if a != b:
            return f"message {i} was {_said(a)} and then {_said(b)}"
    for name in ("rewards", "outcome", "end"):
        a, b = getattr(ours, name), getattr(theirs, name)
        if a != b:
            return f"{name} was {a!r:.80} and then {b!r:.80}"
    if (first.verdict.score, first.verdict.status) != (second.verdict.score, second.verdict.status):
        return f"the verdict was {outcome(first.verdict)} and then {outcome(second.verdict)}"
    return ""


def _said(message: Message | None) -> str:
    return "missing" if message is None else f"{message.role} {shown(message.content)}"


def outcome(verdict: Verdict) -> str:
    """A verdict as a short text for a message."""
    return str(verdict.score) if verdict.score is not None else f"no score ({verdict.status}: {verdict.detail})"
