"""What one step shows about its rollouts, in numbers that add up over processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accelerate.utils import gather_object

import fdiv_gym as fg
from fdiv_gym.rollouts import is_masked
from fdiv_gym_accelerate.streams import StreamBatch


@dataclass(frozen=True)
class Reading:
    """Counts and sums of one step, over all processes.

    Args:
        groups: their number.
        mixed: groups whose scores are not all equal.
        varied: groups whose responses are not all the same tokens.
        responses: their number.
        unscored: responses without a score, the masked ones left out.
        timeouts: unscored responses whose verdict took too long.
        reward: sum of the scores.
        lowest: the lowest score; inf without any.
        highest: the highest score; -inf without any.
        tokens: sampled tokens.
        surprisal: sum of the tokens' -log-probs at sampling time, in nats.
        log_ratio: sum of log pi - log pi_ref over the tokens that the step trained on, in nats; None without a
            reference.
        trained: these tokens.
        agreeing: the part of ``pushed`` that raises responses above their group's mean and lowers those below.
        pushed: sum over responses of how strongly the reward moves their log-probs; 0 where it was not measured.
        masked: responses without a score because env.score_truncated says so.
    """

    groups: int = 0
    mixed: int = 0
    varied: int = 0
    responses: int = 0
    unscored: int = 0
    timeouts: int = 0
    reward: float = 0.0
    lowest: float = math.inf
    highest: float = -math.inf
    tokens: int = 0
    surprisal: float = 0.0
    log_ratio: float | None = None
    trained: int = 0
    agreeing: float = 0.0
    pushed: float = 0.0
    masked: int = 0

    def merged(self, other: Reading) -> Reading:
        """The reading of the rollouts of both."""
        mine, theirs = vars(self), vars(other)
        joined: dict[str, Any] = {name: mine[name] + theirs[name] for name in mine if name not in _OTHERWISE}
        ratios = [value for value in (self.log_ratio, other.log_ratio) if value is not None]
        return Reading(
            **joined,
            lowest=min(self.lowest, other.lowest),
            highest=max(self.highest, other.highest),
            log_ratio=sum(ratios) if ratios else None,
        )

    @property
    def mean_reward(self) -> float | None:
        """Mean score; None without any."""
        scored = self.responses - self.unscored - self.masked
        return self.reward / scored if scored else None

    @property
    def entropy(self) -> float | None:
        """Mean -log-prob of a sampled token, an estimate of the entropy of the next token in nats; None without any."""
        return self.surprisal / self.tokens if self.tokens else None

    @property
    def token_log_ratio(self) -> float | None:
        """Mean log pi - log pi_ref of a token that was trained on, in nats; None without reference or tokens."""
        return None if self.log_ratio is None or not self.trained else self.log_ratio / self.trained

    @property
    def direction(self) -> float | None:
        """From -1, the reward pushes every response the wrong way, to 1; None if it was not measured."""
        return self.agreeing / self.pushed if self.pushed else None


_OTHERWISE = ("lowest", "highest", "log_ratio")


def reading_of(
    groups: Sequence[fg.TrajectoryGroup], stream: StreamBatch, direction: tuple[float, float] = (0.0, 0.0)
) -> Reading:
    """The reading of this process's rollouts.

    Args:
        groups: the judged groups that were drawn.
        stream: the rows of those that the step trained on.
        direction: ``agreeing`` and ``pushed``, if they were measured.
    """
    scores = [[r for r in group.rewards if r is not None] for group in groups]
    flat = [score for group in scores for score in group]
    trajectories = [t for group in groups for t in group.trajectories]
    masked = sum(is_masked(t.verdict) for t in trajectories)
    old, ref = stream.sequence_sum(stream.old_logps), stream.sequence_sum(stream.ref_logps)
    return Reading(
        groups=len(groups),
        mixed=sum(1 for group in scores if group and min(group) != max(group)),
        varied=sum(1 for group in groups if len({t.token_ids for t in group.trajectories}) > 1),
        responses=len(trajectories),
        unscored=len(trajectories) - len(flat) - masked,
        masked=masked,
        timeouts=sum(t.verdict is not None and t.verdict.status == "timeout" for t in trajectories),
        reward=math.fsum(flat),
        lowest=min(flat, default=math.inf),
        highest=max(flat, default=-math.inf),
        tokens=sum(t.response_length for t in trajectories),
        surprisal=-math.fsum(t.logprob for t in trajectories),
        trained=int(stream.lengths.sum()),
        log_ratio=None if old is None or ref is None else float((old - ref).sum()),
        agreeing=direction[0],
        pushed=direction[1],
    )


def merged_over_processes(reading: Reading, *, several: bool) -> Reading:
    """The reading of the rollouts of all processes, the same in each; all of them must call it."""
    parts: list[Reading] = gather_object([reading]) if several else [reading]
    first, *others = parts
    for other in others:
        first = first.merged(other)
    return first
