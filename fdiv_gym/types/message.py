"""Message: one turn of a chat, and prompts of one or several messages."""

from __future__ import annotations

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
