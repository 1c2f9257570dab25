"""Guards around what an environment says in a conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fdiv_gym.errors import EnvError
from fdiv_gym.registry.guard.boundaries import Plugin, boundary, label_of
from fdiv_gym.registry.messages import shorten
from fdiv_gym.types.message import Message
from fdiv_gym.types.unicode import normalised, normalised_json, tell_normalised
from fdiv_gym.types.verdict import is_finite_number

SPOKEN = ("system", "user", "tool")
"""Roles of an environment's messages between two responses; the assistant is the policy."""
DEEPEST = 64
"""Levels of lists and objects in an outcome; more could not be written and read everywhere."""


def check_said(
    env: Plugin, call: str, said: object, *, opening: bool = False, chat: bool = False
) -> tuple[Message, ...]:
    """What an environment says, as messages with valid texts.

    Args:
        env: the environment.
        call: the name of the call for the message, e.g. ``"reply"``.
        said: a text of the user's, a message, or several.
        opening: whether it is the begin of the conversation, where answers of the assistant may stand as examples.
        chat: whether it is a whole conversation, with responses.

    Raises:
        EnvError: it is something else, or a message has another role.
        PluginError: it cannot be read.
    """
    what = f"{label_of(env)}: {call}"
    if isinstance(said, str):
        said = (Message("user", said),)
    elif isinstance(said, Message):
        said = (said,)
    if not isinstance(said, Sequence) or isinstance(said, (bytes, bytearray)):
        expected = "a text, messages or None" if opening else "a text, messages, a Reply or None"
        raise EnvError(f"{what} must return {expected}, got {shorten(said)}")
    with boundary(env, call):
        said = tuple(said)
    changed, messages = 0, []
    for message in said:
        if not isinstance(message, Message):
            hint = "" if opening or chat else "; a reward or an end is told by fdiv_gym.Reply(said, reward, done)"
            raise EnvError(f"{what} returned several items, of which {shorten(message)} is no fdiv_gym.Message{hint}")
        if not isinstance(message.content, str):
            raise EnvError(f"{what}: the content of a message must be a string, got {shorten(message.content)}")
        if message.role not in SPOKEN and not ((opening or chat) and message.role == "assistant"):
            raise EnvError(f"{what} returned a message of role {shorten(message.role)}, expected {', '.join(SPOKEN)}")
        text = normalised(message.content)
        changed += text != message.content
        messages.append(Message(message.role, text))
    if opening and (not messages or messages[-1].role == "assistant"):
        raise EnvError(f"{what} must end with a message to answer, got {shorten(said)}")
    tell_normalised(changed, what)
    return tuple(messages)


def check_reward(env: Plugin, reward: object) -> float:
    """The reward of a turn.

    Raises:
        EnvError: it is not a finite number.
    """
    if not is_finite_number(reward):
        raise EnvError(f"{label_of(env)}: the reward of a reply is {shorten(reward)}, expected a finite number")
    return float(reward)  # type: ignore[arg-type]


def check_done(env: Plugin, done: object) -> bool:
    """Whether a reply ends its conversation.

    Raises:
        EnvError: it is neither true nor false, e.g. a text, which would count as true.
        PluginError: it cannot be read, e.g. an array of several values.
    """
    with boundary(env, "reply"):
        value = bool(done)
        known = bool(done == value)
    if not known:
        raise EnvError(f"{label_of(env)}: done of a reply is {shorten(done)}, expected True or False")
    return value


def max_turns_of(env: Any) -> int:
    """``env.max_turns``, checked.

    Raises:
        PluginError: it is a property that failed.
        EnvError: it is not a positive integer.
    """
    with boundary(env, "max_turns"):
        turns: object = env.max_turns
    if not isinstance(turns, int) or isinstance(turns, bool) or turns < 1:
        raise EnvError(f"{label_of(env)}: max_turns must be a positive integer, got {shorten(turns)}")
    return turns


def check_outcome(env: Plugin, outcome: object) -> dict[str, Any]:
    """The outcome of an episode.

    Raises:
        EnvError: it is no mapping of JSON values, or has more than ``DEEPEST`` levels.
        PluginError: it cannot be read.
    """
    if not isinstance(outcome, Mapping):
        raise EnvError(f"{label_of(env)}: outcome must return a mapping, got {shorten(outcome)}")
    with boundary(env, "outcome"):
        items = dict(outcome)
    try:
        plain: dict[str, Any] = json.loads(json.dumps(items, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise EnvError(f"{label_of(env)}: outcome must hold JSON values: {error}") from None
    except RecursionError:
        raise EnvError(_too_deep(env)) from None
    if _levels_exceed(plain, DEEPEST):
        raise EnvError(_too_deep(env))
    valid: dict[str, Any] = normalised_json(plain)[0]
    return valid


def _too_deep(env: Plugin) -> str:
    return f"{label_of(env)}: outcome has more than {DEEPEST} levels of lists and objects"


def _levels_exceed(value: object, limit: int) -> bool:
    """Whether JSON values are nested more deeply; without recursion."""
    level = [value]
    for _ in range(limit + 1):
        nested = [one for one in level if isinstance(one, (dict, list))]
        level = [child for one in nested for child in (one.values() if isinstance(one, dict) else one)]
        if not nested:
            return False
    return True
