"""Transcript: a finished conversation, as the environment judges it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from fdiv_gym.types.message import Message, message_records, read_messages
from fdiv_gym.types.verdict import is_finite_number

End = Literal["done", "turns", "context", "failed"]
"""Why a conversation ended: the environment ended it, its turns ran out, the next response would not fit into the
model's context, or something failed, so that it was never judged."""


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
        return self.end in ("turns", "context") or self.cut_off

    def __str__(self) -> str:
        """The content as one line of JSON: equal content, equal text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready record; ``from_dict`` reads it back."""
        return {
            "messages": message_records(self.messages),
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
        messages, opening, rewards = read_messages(record["messages"]), record["opening"], record["rewards"]
        if type(opening) is not int or not 0 <= opening <= len(messages):
            raise ValueError("opening must be a number of messages")
        if not isinstance(rewards, (list, tuple)) or not all(map(is_finite_number, rewards)):
            raise ValueError("rewards must be finite numbers")
        outcome, end, cut_off = record["outcome"], record["end"], record["cut_off"]
        if not isinstance(outcome, Mapping) or end not in get_args(End) or type(cut_off) is not bool:
            raise ValueError("outcome must be an object, end a known one, and cut_off true or false")
        found = cls(messages, opening, tuple(map(float, rewards)), dict(outcome), end, cut_off)
        if len(rewards) > len(found.responses):
            raise ValueError("there are more rewards than responses")
        return found
