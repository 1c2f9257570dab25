"""Conversations of sample records as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MESSAGES_SHOWN = 40
CHARACTERS_SHOWN = 400
ENDS = {"done": "ended", "turns": "no turns left", "context": "no room in the context", "failed": "failed"}


def conversation_lines(transcript: Mapping[str, Any]) -> Iterator[str]:
    """One line for each line of a message, behind its role; ``>`` stands before what the policy said.

    Long texts and conversations are cut, and the cuts are counted.

    Args:
        transcript: of a record that ``is_sample`` accepts.
    """
    messages = transcript["messages"]
    left = max(0, len(messages) - MESSAGES_SHOWN)
    for place, message in enumerate(messages):
        if left and place == MESSAGES_SHOWN // 2:
            yield f"  ... {left:,} more messages"
        if not left or place < MESSAGES_SHOWN // 2 or place >= len(messages) - MESSAGES_SHOWN // 2:
            policy = message["role"] == "assistant" and place >= transcript["opening"]
            yield from _lines(f"{'>' if policy else ' '} {message['role']}: ", message["content"])
    cut = "; the last response was cut off" if transcript["cut_off"] else ""
    yield f"  ({ENDS[transcript['end']]}{cut})"


def _lines(head: str, content: str) -> Iterator[str]:
    shown, rest = content[:CHARACTERS_SHOWN], len(content) - CHARACTERS_SHOWN
    first, *others = shown.split("\n")
    yield head + first
    yield from (" " * len(head) + line for line in others)
    if rest > 0:
        yield " " * len(head) + f"... {rest:,} more characters"
