"""Names of the components in which a preference model's numbers travel with a verdict."""

from __future__ import annotations

from collections.abc import Iterable

SCORE = "gprl/"
"""Prefix of a dimension's raw group score: the mean of s_l against the other responses of the group."""
EIGENVALUE = "lambda/"
"""Prefix of a dimension's eigenvalue, that of the prompt."""
ANCHORED = "anchored/"
"""Prefix of a dimension's mean score against the task's anchor responses."""


def dimensions(names: Iterable[str]) -> list[str]:
    """The suffixes of the components ``gprl/<l>`` among ``names``: numbers by value, then others by name."""
    found = [name.removeprefix(SCORE) for name in names if name.startswith(SCORE)]
    return sorted(found, key=lambda one: (not one.isdecimal(), int(one) if one.isdecimal() else 0, one))
