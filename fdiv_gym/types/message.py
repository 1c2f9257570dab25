"""Message: one turn of a chat, and prompts of one or several messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Message:
    """One turn of a chat.

    Args:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        content: the text; of a response that a policy sampled, everything before its end token.
    """

    role: str
    content: str


Prompt = str | tuple[Message, ...]
ROLES = ("system", "user", "assistant", "tool")


def plain_prompt(prompt: Prompt) -> Any:
    """The prompt as JSON values."""
    return prompt if isinstance(prompt, str) else [[m.role, m.content] for m in prompt]


def messages_of(prompt: Prompt) -> tuple[Message, ...]:
    """The prompt as messages; a text is one message of the user."""
    return (Message("user", prompt),) if isinstance(prompt, str) else prompt


def message_records(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as JSON values: objects with ``role`` and ``content``."""
    return [{"role": message.role, "content": message.content} for message in messages]


def read_messages(records: object) -> tuple[Message, ...]:
    """Read what ``message_records`` wrote.

    Raises:
        ValueError: it is something else, or a role is unknown.
    """
    if not isinstance(records, (list, tuple)):
        raise ValueError(f"expected a list of messages, got {type(records).__name__}")
    found = []
    for record in records:
        if not isinstance(record, Mapping) or not isinstance(record.get("content"), str):
            raise ValueError("a message is no object with role and content")
        if not isinstance(record.get("role"), str) or record["role"] not in ROLES:
            raise ValueError(f"a message's role must be one of {', '.join(ROLES)}")
        found.append(Message(record["role"], record["content"]))
    return tuple(found)


def as_text(messages: Sequence[Message]) -> str:
    """Messages as one text, each behind its role."""
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)
