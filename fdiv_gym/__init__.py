"""fdiv-gym: text environments, f-divergence objectives and trainers, all of them plugins.

``import fdiv_gym as fg`` is fast: torch, transformers, sympy and the command line are imported at first use.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from fdiv_gym.envs.registration import make
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
from fdiv_gym.registry.discovery import Plugin
from fdiv_gym.registry.discovery import discovery as _discovery
from fdiv_gym.registry.entry import Entry
from fdiv_gym.registry.hooks import Registrar, hookimpl
from fdiv_gym.registry.kinds import KINDS
from fdiv_gym.registry.lookup import get, list_entries, list_plugins
from fdiv_gym.types.task import Task
from fdiv_gym.types.verdict import Status, Verdict
from fdiv_gym.version import __version__

if TYPE_CHECKING:
    from fdiv_gym import functional as functional
    from fdiv_gym.divergences import Divergence as Divergence
    from fdiv_gym.divergences import Link as Link
    from fdiv_gym.divergences import divergence_from_generator as divergence_from_generator
    from fdiv_gym.divergences import get_divergence as get_divergence
    from fdiv_gym.envs import ConversationEnv as ConversationEnv
    from fdiv_gym.envs import Curriculum as Curriculum
    from fdiv_gym.envs import Environment as Environment
    from fdiv_gym.envs import Episode as Episode
    from fdiv_gym.envs import Reply as Reply
    from fdiv_gym.envs import TextEnv as TextEnv
    from fdiv_gym.envs import ToolEnv as ToolEnv
    from fdiv_gym.envs import ToolEpisode as ToolEpisode
    from fdiv_gym.envs import get_environment as get_environment
    from fdiv_gym.objectives import Advantage as Advantage
    from fdiv_gym.objectives import Aggregation as Aggregation
    from fdiv_gym.objectives import Coefficients as Coefficients
    from fdiv_gym.objectives import GroupBatch as GroupBatch
    from fdiv_gym.objectives import MicroBatch as MicroBatch
    from fdiv_gym.objectives import Objective as Objective
    from fdiv_gym.objectives import ObjectiveOutput as ObjectiveOutput
    from fdiv_gym.objectives import PreferenceBatch as PreferenceBatch
    from fdiv_gym.objectives import get_advantage as get_advantage
    from fdiv_gym.objectives import get_aggregation as get_aggregation
    from fdiv_gym.objectives import get_objective as get_objective
    from fdiv_gym.registry import Options as Options
    from fdiv_gym.registry import PluginRef as PluginRef
    from fdiv_gym.rewards import Fixture as Fixture
    from fdiv_gym.rewards import Judge as Judge
    from fdiv_gym.rewards import Verifier as Verifier
    from fdiv_gym.rewards import get_judge as get_judge
    from fdiv_gym.rewards import get_verifier as get_verifier
    from fdiv_gym.rollouts import Engine as Engine
    from fdiv_gym.rollouts import get_engine as get_engine
    from fdiv_gym.rollouts import run_episodes as run_episodes
    from fdiv_gym.runs import Callback as Callback
    from fdiv_gym.runs import Controls as Controls
    from fdiv_gym.runs import Panel as Panel
    from fdiv_gym.runs import PanelFigure as PanelFigure
    from fdiv_gym.runs import PanelTable as PanelTable
    from fdiv_gym.runs import RunConfig as RunConfig
    from fdiv_gym.runs import RunResult as RunResult
    from fdiv_gym.runs import Trainer as Trainer
    from fdiv_gym.runs import get_callback as get_callback
    from fdiv_gym.runs import get_trainer as get_trainer
    from fdiv_gym.runs import load_config as load_config
    from fdiv_gym.runs import parse_config as parse_config
    from fdiv_gym.runs import train as train
    from fdiv_gym.types import Completion as Completion
    from fdiv_gym.types import Message as Message
    from fdiv_gym.types import Sampling as Sampling
    from fdiv_gym.types import Trajectory as Trajectory
    from fdiv_gym.types import TrajectoryGroup as TrajectoryGroup
    from fdiv_gym.types import Transcript as Transcript

#: Exported names whose import needs pydantic or torch, by the package that defines them.
_PACKAGES = {
    "divergences": ["Divergence", "Link", "divergence_from_generator", "get_divergence"],
    "envs": [
        "ConversationEnv", "Curriculum", "Environment", "Episode", "Reply", "TextEnv", "ToolEnv", "ToolEpisode",
        "get_environment",
    ],
    "objectives": [
        "Advantage", "Aggregation", "Coefficients", "GroupBatch", "MicroBatch", "Objective", "ObjectiveOutput",
        "PreferenceBatch", "get_advantage", "get_aggregation", "get_objective",
    ],
    "registry": ["Options", "PluginRef"],
    "rewards": ["Fixture", "Judge", "Verifier", "get_judge", "get_verifier"],
    "rollouts": ["Engine", "get_engine", "run_episodes"],
    "runs": [
        "Callback", "Controls", "Panel", "PanelFigure", "PanelTable", "RunConfig", "RunResult", "Trainer",
        "get_callback", "get_trainer", "load_config", "parse_config", "train",
    ],
    "types": ["Completion", "Message", "Sampling", "Trajectory", "TrajectoryGroup", "Transcript"],
}  # fmt: skip
_HOMES = {name: package for package, names in _PACKAGES.items() for name in names}

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
    "functional",
    "get",
    "hookimpl",
    "list_entries",
    "list_plugins",
    "make",
    *sorted(_HOMES),
]


def __getattr__(name: str) -> Any:
    if name == "functional":
        return importlib.import_module("fdiv_gym.functional")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"fdiv_gym.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if name.startswith("get_") and name.removeprefix("get_") in KINDS:
        return functools.partial(get, name.removeprefix("get_"))  # a kind whose package has no typed shorthand
    raise AttributeError(f"module 'fdiv_gym' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


_discovery.run()
