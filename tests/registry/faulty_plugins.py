"""Plugins that are right but for one member, and what their errors have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fdiv_gym as fg

TASK = fg.Task("ab>", "ba")
MESSAGE = fg.Message("user", "hello")
WHO = "environment 'Mine'"


def fails(error: BaseException) -> Callable[..., Any]:
    def method(self: object, *arguments: Any) -> Any:
        raise error

    return method


def gives(value: Any) -> Callable[..., Any]:
    return lambda self, *arguments: value


class Env(fg.TextEnv):
    def tasks(self, split: Any) -> Any:
        return [TASK] if split == "train" else [fg.Task("cd>", "dc")]

    def score(self, task: fg.Task, response: str) -> fg.Verdict:
        return fg.Verdict.scored(float(response == task.answer))


class Talk(fg.ConversationEnv):
    """Conversations of up to two turns; ``members`` of ``talk`` are those of its episodes."""

    default_turns = 2

    def tasks(self, split: Any) -> Any:
        return [TASK] if split == "train" else [fg.Task("cd>", "dc")]

    def begin(self, task: fg.Task) -> fg.Episode:
        return Says()

    def score(self, task: fg.Task, transcript: fg.Transcript) -> fg.Verdict:
        return fg.Verdict.scored(float(transcript.response == task.answer))


class Says(fg.Episode):
    def reply(self, response: str) -> Any:
        return "again"


def talk(**members: Any) -> Any:
    """A right environment but for ``members`` of its episodes."""
    return an(Talk, begin=gives(an(Says, **members)))


def an(contract: type, **members: Any) -> Any:
    """An instance of a class that is right but for ``members``."""
    return type("Mine", (contract,), members)()


def one_line(error: BaseException) -> str:
    said = str(error)
    assert isinstance(error, fg.FdivGymError)
    assert "\n" not in said
    assert len(said) < 600
    return said
