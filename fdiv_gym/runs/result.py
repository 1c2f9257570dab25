"""RunResult: the result of a trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunResult:
    """The result of ``Trainer.fit``. A run that an event stopped raises an error; ``summary.json`` says ``stopped``.

    Args:
        folder: the run folder.
        status: ``finished`` or ``interrupted``.
        steps: completed steps, including those before a resume.
        summary: the content of ``summary.json``.
    """

    folder: Path
    status: str
    steps: int
    summary: dict[str, Any] = field(default_factory=dict)
