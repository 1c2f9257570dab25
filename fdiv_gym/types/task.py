"""Task: one prompt to answer, a frozen record with a content hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fdiv_gym.errors import EnvError
from fdiv_gym.types.message import ROLES, Message, Prompt, as_text, messages_of, plain_prompt
from fdiv_gym.types.unicode import normalised


@dataclass(frozen=True)
class Task:
    """One task of a text environment.

    Args:
        prompt: the input of the policy: a text, or messages of the roles system, user, assistant and tool. Lone
            surrogates in it or in the answer are replaced by U+FFFD.
        answer: the reference answer, if there is one.
        data: further data that the environment needs to score a response; JSON values only.
        group: number of the group that a response belongs to, among those that are scored together. Whoever runs
            episodes sets it for the environment and its judges; elsewhere it is None. The same task drawn twice in a
            step is two groups. It is no part of the content: neither equality nor the hash reads it. See ``groups_of``.

    Raises:
        EnvError: the prompt is neither a string nor messages, or ``data`` is not JSON.
    """

    prompt: Prompt
    answer: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    group: int | None = field(default=None, compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            object.__setattr__(self, "prompt", _checked(self.prompt))
        if self.answer is not None and not isinstance(self.answer, str):
            raise EnvError(f"a task's answer must be a string or None, got {self.answer!r}")
        for name in ("prompt", "answer"):
            text = getattr(self, name)
            if isinstance(text, str) and (valid := normalised(text)) != text:
                object.__setattr__(self, name, valid)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt as messages; a text is one message of the user."""
        return messages_of(self.prompt)

    @property
    def text(self) -> str:
        """The prompt as one text; of several messages, each with its role before it."""
        if len(self.messages) == 1:
            return self.messages[0].content
        return as_text(self.messages)

    @cached_property
    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of the content: equal content, equal hash, on any machine."""
        try:
            content = json.dumps(
                [plain_prompt(self.prompt), self.answer, dict(self.data)], sort_keys=True, allow_nan=False
            )
        except (TypeError, ValueError) as error:
            raise EnvError(f"the data of a task must be JSON: {error}") from None
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def groups_of(tasks: Sequence[Task]) -> list[list[int]]:
    """The places of the responses that belong together: those with equal tasks and the same ``group``.

    A judge that compares responses takes its groups from here.
    """
    groups: dict[tuple[str, int | None], list[int]] = {}
    for place, task in enumerate(tasks):
        groups.setdefault((task.hash, task.group), []).append(place)
    return list(groups.values())


def _checked(prompt: object) -> tuple[Message, ...]:
    """Messages with valid texts.

    Raises:
        EnvError: they are none, or one has another role.
    """
    if not isinstance(prompt, (tuple, list)) or not prompt:
        raise EnvError(f"a task's prompt must be a string or messages, got {type(prompt).__name__}")
    for message in prompt:
        if not isinstance(message, Message) or not isinstance(message.content, str):
            raise EnvError(f"a task's prompt must hold fdiv_gym.Message objects, got {message!r:.80}")
        if message.role not in ROLES:
            raise EnvError(f"a message's role must be one of {', '.join(ROLES)}, got {message.role!r}")
    if prompt[-1].role == "assistant":
        raise EnvError("a task's prompt must end before a response, not with a message of the assistant")
    return tuple(Message(m.role, normalised(m.content)) for m in prompt)
