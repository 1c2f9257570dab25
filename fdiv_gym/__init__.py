"""fdiv-gym: text environments, f-divergence objectives and trainers, all of them plugins.

``import fdiv_gym as fg`` is light: torch, transformers, sympy and the command line load when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fdiv_gym.discovery import Plugin
from fdiv_gym.discovery import discovery as _discovery  # not under its own name: that is the submodule's
from fdiv_gym.environments import make
from fdiv_gym.errors import (
    ConfigError,
    EngineError,
    EnvError,
    FdivGymError,
    JudgeError,
    MissingExtraError,
    PluginError,
    TrainerError,
    UnknownNameError,
    VerifierError,
)
from fdiv_gym.hooks import Registrar, hookimpl
from fdiv_gym.registry import Entry
from fdiv_gym.task import Task
from fdiv_gym.verdict import Status, Verdict
from fdiv_gym.version import __version__

if TYPE_CHECKING:
    from fdiv_gym import functional as functional
    from fdiv_gym.advantages.aggregation import Aggregation as Aggregation
    from fdiv_gym.advantages.base import Advantage as Advantage
    from fdiv_gym.catalogue import get_advantage as get_advantage
    from fdiv_gym.catalogue import get_aggregation as get_aggregation
    from fdiv_gym.catalogue import get_divergence as get_divergence
    from fdiv_gym.catalogue import get_engine as get_engine
    from fdiv_gym.catalogue import get_environment as get_environment
    from fdiv_gym.catalogue import get_judge as get_judge
    from fdiv_gym.catalogue import get_objective as get_objective
    from fdiv_gym.catalogue import get_observer as get_observer
    from fdiv_gym.catalogue import get_trainer as get_trainer
    from fdiv_gym.catalogue import get_verifier as get_verifier
    from fdiv_gym.catalogue import list_entries as list_entries
    from fdiv_gym.catalogue import list_plugins as list_plugins
    from fdiv_gym.config import RunConfig as RunConfig
    from fdiv_gym.config import load_config as load_config
    from fdiv_gym.divergences.base import Divergence as Divergence
    from fdiv_gym.divergences.base import Link as Link
    from fdiv_gym.divergences.generated import divergence_from_generator as divergence_from_generator
    from fdiv_gym.engine import Engine as Engine
    from fdiv_gym.env import TextEnv as TextEnv
    from fdiv_gym.judge import Judge as Judge
    from fdiv_gym.objectives.base import Objective as Objective
    from fdiv_gym.objectives.batch import Coefficients as Coefficients
    from fdiv_gym.objectives.batch import Groups as Groups
    from fdiv_gym.objectives.batch import MicroBatch as MicroBatch
    from fdiv_gym.objectives.batch import ObjectiveOutput as ObjectiveOutput
    from fdiv_gym.objectives.batch import Preferences as Preferences
    from fdiv_gym.observer import Observer as Observer
    from fdiv_gym.options import Options as Options
    from fdiv_gym.rollout import Completion as Completion
    from fdiv_gym.rollout import Group as Group
    from fdiv_gym.rollout import Sampling as Sampling
    from fdiv_gym.rollout import Trajectory as Trajectory
    from fdiv_gym.rollouts import run_episodes as run_episodes
    from fdiv_gym.trainer import RunResult as RunResult
    from fdiv_gym.trainer import Trainer as Trainer
    from fdiv_gym.verifier import Fixture as Fixture
    from fdiv_gym.verifier import Verifier as Verifier

# Exported names that cost an import of pydantic or torch, with the module that holds them.
_LAZY = {
    "functional": "fdiv_gym.functional",
    "Aggregation": "fdiv_gym.advantages.aggregation",
    "Advantage": "fdiv_gym.advantages.base",
    "Coefficients": "fdiv_gym.objectives.batch",
    "Completion": "fdiv_gym.rollout",
    "Divergence": "fdiv_gym.divergences.base",
    "Engine": "fdiv_gym.engine",
    "Fixture": "fdiv_gym.verifier",
    "Group": "fdiv_gym.rollout",
    "Groups": "fdiv_gym.objectives.batch",
    "Judge": "fdiv_gym.judge",
    "Link": "fdiv_gym.divergences.base",
    "MicroBatch": "fdiv_gym.objectives.batch",
    "Objective": "fdiv_gym.objectives.base",
    "ObjectiveOutput": "fdiv_gym.objectives.batch",
    "Observer": "fdiv_gym.observer",
    "Options": "fdiv_gym.options",
    "Preferences": "fdiv_gym.objectives.batch",
    "RunConfig": "fdiv_gym.config",
    "RunResult": "fdiv_gym.trainer",
    "Sampling": "fdiv_gym.rollout",
    "TextEnv": "fdiv_gym.env",
    "Trainer": "fdiv_gym.trainer",
    "Trajectory": "fdiv_gym.rollout",
    "Verifier": "fdiv_gym.verifier",
    "divergence_from_generator": "fdiv_gym.divergences.generated",
    "get_advantage": "fdiv_gym.catalogue",
    "get_aggregation": "fdiv_gym.catalogue",
    "get_divergence": "fdiv_gym.catalogue",
    "get_engine": "fdiv_gym.catalogue",
    "get_environment": "fdiv_gym.catalogue",
    "get_judge": "fdiv_gym.catalogue",
    "get_objective": "fdiv_gym.catalogue",
    "get_observer": "fdiv_gym.catalogue",
    "get_trainer": "fdiv_gym.catalogue",
    "get_verifier": "fdiv_gym.catalogue",
    "list_entries": "fdiv_gym.catalogue",
    "list_plugins": "fdiv_gym.catalogue",
    "load_config": "fdiv_gym.config",
    "run_episodes": "fdiv_gym.rollouts",
}

__all__ = [
    "ConfigError",
    "EngineError",
    "Entry",
    "EnvError",
    "FdivGymError",
    "JudgeError",
    "MissingExtraError",
    "Plugin",
    "PluginError",
    "Registrar",
    "Status",
    "Task",
    "TrainerError",
    "UnknownNameError",
    "Verdict",
    "VerifierError",
    "__version__",
    "hookimpl",
    "make",
    *sorted(_LAZY),
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fdiv_gym' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    value = module if _LAZY[name] == f"fdiv_gym.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


_discovery.run()
