"""Reply: what a server answered, read without trust in its form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

LARGEST_COUNT = 10**9
"""Tokens of one request that a server may report; a larger number is not counted."""


@dataclass(frozen=True)
class Choice:
    """One of the texts of a reply.

    Args:
        text: None if the server sent none, e.g. a call of a tool instead.
        finish_reason: ``stop``, ``length``, or another word of the server; None if it sent none.
    """

    text: str | None
    finish_reason: str | None = None


@dataclass(frozen=True)
class Reply:
    """The texts from a server, or the reason why there is none.

    Args:
        choices: in the order of their ``index``; None without a readable list of them.
        failure: class and status of the failure; empty if there is a list.
        status: the HTTP status of a refusal.
        said: what the server said of its refusal; empty if that may hold a part of the key.
        prompt_tokens: as the server counts them; 0 if it does not.
        completion_tokens: of all choices together, as the server counts them; 0 if it does not.
    """

    choices: tuple[Choice, ...] | None
    failure: str = ""
    status: int | None = None
    said: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @classmethod
    def read(cls, completion: Any) -> Self:
        """The content of a completion as the client library returns it, which may be anything."""
        used = getattr(completion, "usage", None)
        sent, received = _count(used, "prompt_tokens"), _count(used, "completion_tokens")
        choices = getattr(completion, "choices", None)
        if not isinstance(choices, list):
            return cls(None, "the server's reply has no list of choices", None, "", sent, received)
        ordered = sorted(choices, key=_index)
        return cls(tuple(map(_choice, ordered)), prompt_tokens=sent, completion_tokens=received)


def _index(choice: Any) -> int:
    index = getattr(choice, "index", 0)
    return index if type(index) is int else 0


def _choice(choice: Any) -> Choice:
    # A completion of plain text has ``text``, one of a chat a message.
    text = getattr(choice, "text", None)
    if not isinstance(text, str):
        text = getattr(getattr(choice, "message", None), "content", None)
    reason = getattr(choice, "finish_reason", None)
    return Choice(text if isinstance(text, str) else None, reason if isinstance(reason, str) else None)


def _count(used: Any, name: str) -> int:
    value = getattr(used, name, 0)
    # More than any model reads is no count, and sums of such integers have no float.
    return value if type(value) is int and 0 < value <= LARGEST_COUNT else 0
