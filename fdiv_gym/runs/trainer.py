"""Trainer: trains a model by a run configuration and writes a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from fdiv_gym.registry.lookup import Spec, get
from fdiv_gym.registry.options import Configurable
from fdiv_gym.runs.config import RunConfig
from fdiv_gym.runs.result import RunResult


class Trainer(Configurable):
    """Base of trainers. Built by ``fdiv_gym.get_trainer(name, **options)``.

    Attributes:
        needs: the tables of a run file that the trainer reads beside ``[model]`` and ``[trainer]``. Another one is
            refused; without ``engine`` or ``objective`` among them, the configuration has none.
    """

    kind: ClassVar[str] = "trainer"
    needs: ClassVar[frozenset[str]] = frozenset({"env", "engine", "objective", "preferences", "tracker", "callbacks"})

    def fit(self, config: RunConfig, folder: Path, *, resume: bool = False) -> RunResult:
        """Start or resume the training that ``config`` describes; write its results into ``folder``.

        Raises:
            TrainerError: training cannot start, continue or be stored.
        """
        raise NotImplementedError


def get_trainer(spec: Spec | Trainer, **options: Any) -> Trainer:
    """A trainer, e.g. ``get_trainer("accelerate")``; see ``fdiv_gym.get``."""
    plugin: Trainer = get("trainer", spec, **options)
    return plugin
