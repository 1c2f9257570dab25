"""The deadline of a batch."""

from __future__ import annotations

from fdiv_gym.envs.base import ScoringOptions

RESPONSES = 64
"""A batch of so many responses may take twice ``score_deadline_s``, one of twice as many three times."""
LONGEST_S = 3e7
"""About a year: the longest deadline, since timers overflow at longer ones."""


def deadline_s(options: ScoringOptions, responses: int) -> float:
    """Seconds that scoring a batch of so many responses may take."""
    return min(options.score_deadline_s * (1 + responses / RESPONSES), LONGEST_S)
