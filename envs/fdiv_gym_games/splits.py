"""The splits of the games."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fdiv_gym.envs import Split

ONE_IN = 5
"""One in so many items is held out, and at least one."""


def part(items: Iterable[str], split: Split) -> list[str]:
    """The items of one split, in an order given by their hashes: the same on every machine."""
    ordered = sorted(items, key=lambda item: hashlib.sha256(item.encode()).digest())
    held_out = max(1, len(ordered) // ONE_IN)
    return ordered[:held_out] if split == "heldout" else ordered[held_out:]
