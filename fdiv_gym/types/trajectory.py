"""The records that pass from an engine to an objective: completions, trajectories and groups.

They hold tokens, so no text is tokenised twice.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

from fdiv_gym.types.task import Task
from fdiv_gym.types.transcript import Transcript
from fdiv_gym.types.verdict import Verdict

StopReason = Literal["eos", "length"]


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    Args:
        max_new_tokens: tokens a response may have, the end token included.
        temperature: divides the logits; 0 means greedy.
        top_p: keep the most likely tokens of this total probability; 1 keeps all.
        top_k: keep this many tokens; 0 keeps all.
        seed: determines every draw.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Completion:
    """One sampled response.

    Args:
        token_ids: the sampled tokens, the end token included if it was sampled.
        logprobs: natural-log probability of each token under the sampling distribution
            (after temperature and truncation); same length.
        text: decoded without the end token; other special tokens stay visible.
        stop_reason: ``eos`` (the end token was sampled) or ``length``.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    stop_reason: StopReason


@dataclass(frozen=True)
class Trajectory:
    """One episode as tokens, of one turn or several.

    The tokens are those of one or several rows, one after the other. A row is what the policy saw and sampled: the next
    turn continues it where the next prompt begins with the tokens of the row, and else begins a new one, because the
    chat template renders earlier turns otherwise. Each sampled token is trained in one row only.

    Args:
        token_ids: prompt, response, and for further turns the environment's and the policy's tokens.
        logprobs: of sampled tokens; 0.0 where ``loss_mask`` is False.
        loss_mask: True on tokens that the policy sampled and that are trained; False on the first of each row.
        text: the last response.
        verdict: of the episode; None before scoring.
        stop_reason: of the last turn.
        turns: number of responses.
        row_starts: place of the first token of each row.
        transcript: the messages of the episode; None where there are none.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    loss_mask: tuple[bool, ...]
    text: str
    stop_reason: StopReason
    verdict: Verdict | None = None
    turns: int = 1
    row_starts: tuple[int, ...] = (0,)
    transcript: Transcript | None = None

    @property
    def response_length(self) -> int:
        """Number of sampled tokens."""
        return sum(self.loss_mask)

    @property
    def environment_tokens(self) -> int:
        """Number of tokens that were not sampled, after the first prompt.

        Of a row that begins anew, only those behind the longest begin that it shares with the row before: what the
        environment said since, and what the chat template renders otherwise.
        """
        starts = (*self.row_starts, len(self.token_ids))
        count = 0
        for row, (start, stop) in enumerate(itertools.pairwise(starts)):
            if row == 0:
                known = next((i for i in range(start, stop) if self.loss_mask[i]), stop) - start
            else:
                pairs = zip(self.token_ids[start:stop], self.token_ids[starts[row - 1] : start], strict=False)
                known = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
            count += sum(not sampled for sampled in self.loss_mask[start + known : stop])
        return count

    @property
    def logprob(self) -> float:
        """Sum of the sampled tokens' log-probs."""
        return sum(p for p, m in zip(self.logprobs, self.loss_mask, strict=True) if m)


@dataclass(frozen=True)
class TrajectoryGroup:
    """The G trajectories of one task."""

    task: Task
    trajectories: tuple[Trajectory, ...]
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def rewards(self) -> list[float | None]:
        """Score of each trajectory; None for a trajectory without a score."""
        return [t.verdict.score if t.verdict is not None else None for t in self.trajectories]
