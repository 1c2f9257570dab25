"""What the readings of several steps show together. No detector reads anything but the readings of the run so far.

Rewards, entropy and divergence of good runs vary from step to step by orders of magnitude, so that a detector reads a
window of steps, or compares it with the first steps of the run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fdiv_gym.runs import Event
from fdiv_gym_accelerate.readings import Reading

STEPS = 10
"""Steps of a window, and of the start that it is compared with."""
GROUPS = 160
"""Groups that must all be equal. Near the top 88 % may be: 160 by chance, once in a billion windows."""
EXPLODING_STEPS = 5
"""Steps of the window for the divergence."""
LARGEST_LOG_RATIO = 3.0
"""Nats a token; the demonstration's runs end below 0.4."""
COLLAPSED = 0.02
"""Share of the first steps' highest entropy below which it has collapsed, unless the rewards are near the best."""
NEAR_BEST = 0.9
"""Share of the way from the lowest to the highest score of the run."""
RISE = 0.1
"""Rise of the unscored share that is noticed, if it is four standard errors."""
RISE_OF_TIMEOUTS = 0.02
"""The same for time-outs alone: an expensive answer is a way to avoid a score of 0, and is noticed sooner."""
WRONG_WAY = -0.5
"""Direction of the reward's effect below which its sign is wrong; 1 in every sound objective of ours."""
MOST_KEPT = GROUPS


@dataclass
class History:
    """What the detectors read.

    Args:
        score_range: the environment's lowest and highest possible score.
        first: the readings of the first ``STEPS`` steps.
        recent: the last readings, at most ``MOST_KEPT``.
        lowest: the lowest score of the run.
        highest: the highest score of the run.
        mixed: groups of the run whose scores were not all equal.
        measured: whether the direction was measured at any step.
    """

    score_range: tuple[float, float] = (-math.inf, math.inf)
    first: list[Reading] = field(default_factory=list)
    recent: list[Reading] = field(default_factory=list)
    lowest: float = math.inf
    highest: float = -math.inf
    mixed: int = 0
    measured: bool = False

    def add(self, reading: Reading) -> list[Event]:
        """Add the reading of the next step; the events that it completes."""
        if len(self.first) < STEPS:
            self.first.append(reading)
        self.recent = [*self.recent, reading][-MOST_KEPT:]
        self.lowest = min(self.lowest, reading.lowest)
        self.highest = max(self.highest, reading.highest)
        self.mixed += reading.mixed
        self.measured = self.measured or reading.pushed > 0
        return [event for detector in DETECTORS if (event := detector(self)) is not None]

    def last(self, steps: int, groups: int = 0) -> Sequence[Reading] | None:
        """The last steps that are at least so many and hold at least so many groups; None if there are not."""
        window: list[Reading] = []
        for reading in reversed(self.recent):
            window.insert(0, reading)
            if len(window) >= steps and sum(r.groups for r in window) >= groups:
                return window
        return None

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        for name, value in state.items():
            setattr(self, name, [Reading(**r) for r in value] if name in ("first", "recent") else value)


def equal_rewards(history: History) -> Event | None:
    """All groups equal over a window: at the best score, by a constant reward, or for another reason."""
    window = history.last(STEPS, GROUPS)
    if window is None or any(reading.mixed for reading in window):
        return None
    low, high = min(r.lowest for r in window), max(r.highest for r in window)
    if low > high:  # no response has a score
        return None
    groups, varied = sum(r.groups for r in window), sum(r.varied for r in window)
    what = f"in {len(window)} steps all {groups} groups had equal rewards"
    values = {"steps": len(window), "groups": groups, "lowest": low, "highest": high}
    best = history.highest > history.lowest or (high == history.score_range[1] and 2 * varied < groups)
    if low == high == history.highest and best:
        return Event("saturated", f"{what}, {high:g}, the best of the run: nothing is left to learn here", values)
    if not history.mixed and 2 * varied >= groups and not low == high == history.score_range[0]:
        return Event(
            "constant_reward",
            f"{what} (from {low:g} to {high:g}), as in the whole run, although the responses differed in {varied} of "
            "them: the reward seems not to depend on the response; check that the scorer reads it",
            values | {"varied": varied},
        )
    return Event(
        "equal_groups",
        f"{what} (from {low:g} to {high:g}; responses differed in {varied}), so nothing is learned: the tasks are too "
        "hard or the rewards too coarse; use easier tasks, a larger trainer.group_size or a finer reward",
        values | {"varied": varied},
    )


def wrong_sign(history: History) -> Event | None:
    """The reward pushes the better responses down, at a step where that was measured."""
    direction = history.recent[-1].direction
    if direction is None or not math.isfinite(direction) or direction > WRONG_WAY:
        return None
    return Event(
        "wrong_sign",
        f"the loss lowers responses above their group's mean and raises those below: direction {direction:.2f}, where "
        "1 is right; check the sign of the objective's loss and of its advantages",
        {"direction": direction},
    )


def divergence_explodes(history: History) -> Event | None:
    """The median log-ratio of a token to the reference is beyond what training leads to."""
    window = history.last(EXPLODING_STEPS)
    ratios = [r.token_log_ratio for r in window or () if r.token_log_ratio is not None]
    if len(ratios) < EXPLODING_STEPS or not statistics.median(ratios) > LARGEST_LOG_RATIO:
        return None
    median = statistics.median(ratios)
    return Event(
        "divergence_explodes",
        f"over {EXPLODING_STEPS} steps the policy is {median:.3g} nats a token away from the reference (median; "
        f"noticed above {LARGEST_LOG_RATIO:g}): trainer.learning_rate is too high, or nothing holds the policy back",
        {"log_ratio": median},
    )


def entropy_collapse(history: History) -> Event | None:
    """The policy has become deterministic without being right."""
    window = history.last(STEPS)
    # The highest: a learning rate that is too high makes the policy deterministic within the first steps.
    start = max((r.entropy for r in history.first if r.entropy is not None), default=None)
    now = _mean(reading.entropy for reading in window or ())
    reward = _mean(reading.mean_reward for reading in window or ())
    if window is None or start is None or now is None or reward is None or not now < COLLAPSED * start:
        return None
    span = history.highest - history.lowest
    if span > 0 and reward >= history.lowest + NEAR_BEST * span:
        return None
    return Event(
        "entropy_collapse",
        f"over {STEPS} steps a token's entropy was {now:.2g} nats, {now / start:.1%} of the start's, at a mean reward "
        f"of {reward:.3g} (scores from {history.lowest:g} to {history.highest:g}): the policy hardly explores; "
        "lower trainer.learning_rate or hold it closer to the reference",
        {"entropy": now, "entropy_at_start": start, "reward": reward},
    )


def unscored_rising(history: History) -> Event | None:
    """More responses have no score than in the first steps, by more than chance."""
    rise = _rise(history, "unscored", RISE)
    if rise is None:
        return None
    before, now = rise
    return Event(
        "unscored_rising",
        f"over {STEPS} steps {now:.1%} of the responses had no score, at the start {before:.1%}: read their verdicts "
        "in samples.jsonl; the policy may have learned to avoid being scored",
        {"unscored": now, "unscored_at_start": before},
    )


def timeouts_rising(history: History) -> Event | None:
    """More responses take too long to judge than in the first steps, by more than chance."""
    rise = _rise(history, "timeouts", RISE_OF_TIMEOUTS)
    if rise is None:
        return None
    before, now = rise
    return Event(
        "timeouts_rising",
        f"over {STEPS} steps the verdicts of {now:.1%} of the responses took too long, at the start {before:.1%}: read "
        "them in samples.jsonl; the policy may have learned to write expensive answers instead of wrong ones",
        {"timeouts": now, "timeouts_at_start": before},
    )


DETECTORS: tuple[Callable[[History], Event | None], ...] = (
    equal_rewards,
    wrong_sign,
    divergence_explodes,
    entropy_collapse,
    unscored_rising,
    timeouts_rising,
)


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None


def _rise(history: History, counted: str, least: float) -> tuple[float, float] | None:
    """The share of such responses in the first steps and now, if it rose by more than ``least`` and than chance."""
    window = history.last(STEPS)
    if window is None:
        return None
    before, count_before = _share(history.first, counted)
    now, count = _share(window, counted)
    error = math.sqrt(now * (1 - now) / count + before * (1 - before) / count_before)
    return (before, now) if now - before > max(least, 4 * error) else None


def _share(window: Sequence[Reading], counted: str) -> tuple[float, int]:
    """The share of the responses that the field counts, and the number of responses."""
    responses = max(sum(reading.responses for reading in window), 1)
    return sum(getattr(reading, counted) for reading in window) / responses, responses
