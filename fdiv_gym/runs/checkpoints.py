"""The checkpoint from which a run resumes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from fdiv_gym.errors import TrainerError
from fdiv_gym.runs.folder import RunFolder


def newest_intact(run: RunFolder, report: Callable[[str], None]) -> Path | None:
    """The newest checkpoint whose files are those of its manifest; None if the run has no checkpoint.

    Args:
        run: the run folder. Damaged checkpoints newer than that one are renamed ``damaged-step-...`` in it.
        report: takes one line about each damaged checkpoint.

    Raises:
        TrainerError: every checkpoint is damaged.
    """
    damaged: list[tuple[Path, str]] = []
    for folder in reversed(run.checkpoints()):
        reason = run.damage_of(folder)
        if reason is None:
            for other, why in damaged:
                report(f"checkpoint {other.name} is damaged: {why}; resuming from {folder.name}")
                put_aside = other.with_name(f"damaged-{other.name}")
                shutil.rmtree(put_aside, ignore_errors=True)
                with run.writing("a checkpoint"):
                    other.rename(put_aside)
            return folder
        damaged.append((folder, reason))
    if damaged:
        listed = "; ".join(f"{folder.name}: {reason}" for folder, reason in damaged)
        raise TrainerError(
            f"every checkpoint of the run in {run.path} is damaged ({listed}): restore one, or remove "
            "checkpoints/step-* to start again from step 0"
        )
    return None
