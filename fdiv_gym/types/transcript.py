"""Transcript: a finished conversation, as the environment judges it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from fdiv_gym.types.message import Message

End = Literal["done", "turns", "context"]
"""Why a conversation ended: the environment ended it, its turns ran out, or the next response would not fit into the
model's context."""


@dataclass(frozen=True)
class Transcript:
    """A finished conversation.

    Args:
        messages: all of them, in order. From ``opening`` on, the messages of role ``assistant`` are the policy's
            responses, and no others.
        opening: number of messages before the first response.
        rewards: one for each response, as the episode gave them; empty where it gave none.
        outcome: what the episode knows at its end (``Episode.outcome``); JSON values only.
        end: why it ended.
        cut_off: whether the last response ran out of tokens.
    """

    messages: tuple[Message, ...]
    opening: int
    rewards: tuple[float, ...] = ()
    outcome: Mapping[str, Any] = field(default_factory=dict)
    end: End = "done"
    cut_off: bool = False

    @cached_property
    def responses(self) -> tuple[str, ...]:
        """The policy's responses, in order."""
        return tuple(m.content for m in self.messages[self.opening :] if m.role == "assistant")

    @property
    def response(self) -> str:
        """The last response; empty if there is none."""
        return self.responses[-1] if self.responses else ""

    @property
    def truncated(self) -> bool:
        """Whether the conversation stopped before its end: no turns left, no room, or a last response cut off."""
        return self.end != "done" or self.cut_off

    def __str__(self) -> str:
        """The content as one line of JSON: equal content, equal text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready record; ``from_dict`` reads it back."""
        return {
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
            "opening": self.opening,
            "rewards": list(self.rewards),
            "outcome": dict(self.outcome),
            "end": self.end,
            "cut_off": self.cut_off,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Transcript:
        """Read what ``to_dict`` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is no such record.
        """
        messages = tuple(Message(str(m["role"]), str(m["content"])) for m in record["messages"])
        opening = int(record["opening"])
        if not 0 <= opening <= len(messages) or record["end"] not in ("done", "turns", "context"):
            raise ValueError("no transcript")
        rewards = tuple(float(reward) for reward in record["rewards"])
        return cls(messages, opening, rewards, dict(record["outcome"]), record["end"], bool(record["cut_off"]))
