"""Conversations of samples for the report: message by message, the policy's told from the environment's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fdiv_gym.types.message import Message, messages_of, read_messages
from fdiv_gym.types.transcript import Transcript

MESSAGES_SHOWN = 40
"""Messages of a conversation that the report shows: half of them from its begin, half from its end."""

ENDS = {
    "turns": "ended: no turns left",
    "context": "ended: no room in the context",
    "failed": "the episode failed",
}


def transcript_of(sample: Mapping[str, Any]) -> Transcript | None:
    """The transcript of a sample; None if it has none, or a damaged one."""
    try:
        return Transcript.from_dict(sample["transcript"])
    except (KeyError, TypeError, ValueError):
        return None


def prompt_messages(prompt: object) -> list[dict[str, Any]]:
    """The messages of a sample's prompt; what is no list of messages is one text."""
    return _shown(_messages_of(prompt), policy_from=None)


def conversation(sample: Mapping[str, Any]) -> dict[str, Any]:
    """What was said in a sample after its prompt.

    Returns:
        ``messages``, each with role, content, whether it is the policy's, and its reward if there is one, or with the
        number of messages left out (``left``), those before the first response included where they differ from the
        prompt; ``notes`` on the end, turns and outcome, each a text; and ``plain``, whether it is one response and
        nothing else.
    """
    transcript = transcript_of(sample)
    assert transcript is not None, "complete_samples leaves such a sample out"
    opening = transcript.messages[: transcript.opening]
    begin = transcript.opening if opening == _messages_of(sample["prompt"]) else 0
    messages = _shown(transcript.messages[begin:], transcript.opening - begin, transcript.rewards)
    notes = [ENDS[transcript.end]] if transcript.end in ENDS else []
    if transcript.cut_off:
        notes.append("the last response was cut off")
    if transcript.outcome:
        notes.append(f"outcome: {json.dumps(transcript.outcome)}")
    plain = len(messages) == 1 and bool(messages[0].get("policy"))
    return {"messages": messages, "notes": notes, "plain": plain}


def _messages_of(prompt: object) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return messages_of(prompt)
    try:
        return read_messages(prompt)
    except ValueError:
        return messages_of(str(prompt))


def _shown(messages: Sequence[Message], policy_from: int | None, rewards: Sequence[float] = ()) -> list[dict[str, Any]]:
    """Messages for the page; those of the assistant from ``policy_from`` on are the policy's."""
    rest, found = iter(rewards), []
    for place, message in enumerate(messages):
        policy = policy_from is not None and place >= policy_from and message.role == "assistant"
        reward = next(rest, None) if policy else None
        found.append({"role": message.role, "content": message.content, "policy": policy, "reward": reward})
    left = len(found) - MESSAGES_SHOWN
    if left <= 0:
        return found
    half = MESSAGES_SHOWN // 2
    return [*found[:half], {"left": left}, *found[-half:]]
