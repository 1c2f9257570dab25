"""Rows: the tokens that a policy saw and sampled in one episode."""

from __future__ import annotations

from collections.abc import Sequence

from fdiv_gym.envs.play import Conversation
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.types.trajectory import Completion, StopReason, Trajectory
from fdiv_gym.types.verdict import Verdict


class Rows:
    """The token rows of one episode.

    The next turn continues a row if the next prompt begins with the tokens of the row. Else a new row begins with the
    whole prompt: what the policy really saw. A sampled token is trained in the row in which it was sampled.
    """

    def __init__(self) -> None:
        self.sampled: dict[int, Completion] = {}
        """The completion of each message of the conversation that was sampled, by its index."""
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._mask: list[bool] = []
        self._starts: list[int] = []
        self._text, self._stop_reason = "", "eos"

    def prompt(self, tokens: Sequence[int]) -> None:
        """The prompt of the next response."""
        row = self._ids[self._starts[-1] :] if self._starts else []
        if self._starts and list(tokens[: len(row)]) == row:
            self._extend(tokens[len(row) :])
        else:
            self._starts.append(len(self._ids))
            self._extend(tokens)

    def begin_with(self, encoder: ChatEncoder, conversation: Conversation) -> None:
        """Give an episode without any response a row, since a trajectory has tokens: the first of its prompt.

        The whole prompt may be longer than the model's context, and nothing of it is trained.
        """
        if not self._starts:
            self.prompt(encoder.prompt(tuple(conversation.messages))[:1])

    def take(self, index: int, completion: Completion) -> None:
        """A sampled response, which becomes message ``index``."""
        self.sampled[index] = completion
        self._extend(completion.token_ids, completion.logprobs)
        self._text, self._stop_reason = completion.text, completion.stop_reason

    @property
    def response_length(self) -> int:
        """Number of sampled tokens."""
        return sum(self._mask)

    def trajectory(self, conversation: Conversation, verdict: Verdict | None) -> Trajectory:
        """The episode so far."""
        reason: StopReason = "eos" if self._stop_reason == "eos" else "length"
        return Trajectory(
            tuple(self._ids), tuple(self._logprobs), tuple(self._mask), self._text, reason, verdict, conversation.turns,
            tuple(self._starts), conversation.transcript(),
        )  # fmt: skip

    def _extend(self, tokens: Sequence[int], logprobs: Sequence[float] | None = None) -> None:
        self._ids.extend(tokens)
        self._logprobs.extend(logprobs if logprobs is not None else [0.0] * len(tokens))
        self._mask.extend([logprobs is not None] * len(tokens))
