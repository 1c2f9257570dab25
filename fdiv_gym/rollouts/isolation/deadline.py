"""The deadline of a batch."""

from __future__ import annotations

from fdiv_gym.envs.base import ScoringOptions

RESPONSES = 64
"""A batch of so many responses may take twice ``score_deadline_s``, one of twice as many three times."""


def deadline_s(options: ScoringOptions, responses: int) -> float:
    """Seconds that scoring a batch of so many responses may take."""
    return options.score_deadline_s * (1 + responses / RESPONSES)
