"""Episode: one conversation of an environment, with its state."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fdiv_gym.types.message import Message

Said = str | Message | Sequence[Message]
"""What an environment says: a text of the user's, a message, or several."""


@dataclass(frozen=True)
class Reply:
    """An environment's answer to a response, with a reward for the response.

    Args:
        said: the next messages; None or empty at the end of the conversation.
        reward: of the response; counted by ``returns = "sum"`` and ``"discounted"``.
        done: whether the conversation is over.
    """

    said: Said | None = ()
    reward: float = 0.0
    done: bool = False


Answer = Said | Reply | None
"""What ``reply`` returns; None ends the conversation."""


class Episode:
    """One conversation. It owns its state; the environment makes one for each trajectory.

    A subclass implements ``reply`` and may override the others. Each of them is a method or ``async def``. Thousands of
    episodes live at once: what is asynchronous is awaited together for all of them, in one event loop that lives as
    long as the process; plain methods are called one after the other. Each call has ``env.reply_deadline_s`` seconds.

    Everything random in an episode must follow from its task, so that a run can be resumed.
    """

    def opening(self) -> Said | Awaitable[Said | None] | None:
        """The first messages; None for the task's prompt."""
        return None

    def reply(self, response: str) -> Answer | Awaitable[Answer]:
        """The answer to a response of the policy: further messages, a ``Reply`` with a reward, or None at the end.

        An exception ends this episode with a verdict of status ``error``, and no other.
        """
        raise NotImplementedError("the episode has no reply(response): define it in its class")

    def outcome(self) -> Mapping[str, Any] | Awaitable[Mapping[str, Any]]:
        """What the judge should know of the state at the end, e.g. ``{"solved": True}``; JSON values only.

        Called once, before ``close``. Numbers and truth values in it are logged as ``episode/<name>``, their means over
        the episodes.
        """
        return {}

    def close(self) -> Awaitable[None] | None:
        """Release what the episode holds. Called once, whatever happened; a failure is logged."""


class OneTurn(Episode):
    """An episode that ends after one response."""

    def reply(self, response: str) -> None:
        """End."""
