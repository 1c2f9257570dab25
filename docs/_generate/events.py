"""The page on training events, from the kinds of events of ``fdiv_gym.runs``."""

from __future__ import annotations

from _generate.text import NOTE, STACKED_FROM, STACKED_TO, code, prose, table
from fdiv_gym.runs import TRAINING_EVENTS


def events_page() -> str:
    """Every event with what is measured, its policies, and what to do."""
    rows = [
        (
            code(kind.name),
            prose(kind.measured),
            f"**{kind.default}**, " + ", ".join(policy for policy in kind.allowed if policy != kind.default)
            if len(kind.allowed) > 1
            else f"**{kind.default}**",
            prose(kind.advice),
        )
        for kind in TRAINING_EVENTS.values()
    ]
    lines = [
        NOTE,
        "# Training events",
        "",
        "What a run of the trainer `accelerate` notices. [The guide](../guides/training.md#what-training-notices)",
        "explains policies and records. The default policy is in bold, and `[trainer.events]` sets another one.",
        "",
        STACKED_FROM,
        "",
        *table(("event", "measured", "policy", "what to do"), rows),
        "",
        STACKED_TO,
    ]
    return "\n".join(lines) + "\n"
