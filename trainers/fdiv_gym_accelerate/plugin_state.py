"""The state of a run's plugins in its checkpoints: curriculum, objective, advantage, callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate.utils import gather_object

import fdiv_gym as fg
from fdiv_gym.envs import active_curriculum
from fdiv_gym.registry import boundary, restore_state, state_of
from fdiv_gym.runs import PANELS
from fdiv_gym_accelerate.parts import Parts


def plugin_states(parts: Parts) -> dict[str, Any]:
    """What the checkpoint keeps of them; every process must call it.

    Raises:
        PluginError: a plugin failed, or returned what a checkpoint cannot store.
        EnvError: the same of an environment.
    """
    states: dict[str, Any] = {
        "callbacks": gather_object([parts.callbacks.state_dict()]),
        "kl_scale": float(parts.objective.kl_scale),
    }
    curriculum = active_curriculum(parts.env)
    if curriculum is not None:
        states["curriculum"] = state_of(curriculum)
    if parts.objective.running:
        with boundary(parts.objective, "state_dict"):
            states["objective"] = {name: float(value) for name, value in parts.objective.state_dict().items()}
    advantage = parts.objective.advantage
    if advantage is not None:
        states["advantage"] = {"multipliers": multipliers_of(advantage), "state": state_of(advantage)}
    return states


def restore_plugins(parts: Parts, states: Mapping[str, Any]) -> None:
    """Restore what ``plugin_states`` returned; a process of another number of processes gets the state of one.

    Raises:
        PluginError: a plugin failed.
    """
    curriculum = active_curriculum(parts.env)
    if curriculum is not None:
        restore_state(curriculum, states["curriculum"])
    if parts.objective.running:
        with boundary(parts.objective, "load_state_dict"):
            parts.objective.load_state_dict(states["objective"])
    if parts.objective.has_penalty:
        parts.objective.kl_scale = states.get("kl_scale", 1.0)
    advantage = parts.objective.advantage
    if advantage is not None and "advantage" in states:
        advantage.multipliers = dict(states["advantage"]["multipliers"])
        restore_state(advantage, states["advantage"]["state"])
    if "callbacks" in states:
        kept = states["callbacks"]
        parts.callbacks.load_state_dict(kept[parts.accelerator.process_index % len(kept)])


def keep_panels(parts: Parts) -> None:
    """Write the callbacks' panels into the run folder, if there are any; for the first process.

    Raises:
        PluginError: a fatal callback failed.
        TrainerError: the file cannot be written.
    """
    panels = parts.callbacks.panels()
    if panels:
        parts.folder.write_json(PANELS, {"panels": panels})


def multipliers_of(advantage: fg.Advantage) -> dict[str, float]:
    """The advantage's multipliers, checked.

    Raises:
        PluginError: one is no finite number of at least 0.
    """
    with boundary(advantage, "multipliers"):
        return {str(name): advantage.multiplier(name) for name in advantage.multipliers}
