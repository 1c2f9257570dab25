"""Advantage: the reward of a response relative to a baseline, such as the mean reward of its prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from fdiv_gym.errors import PluginError
from fdiv_gym.objectives.batch import GroupBatch
from fdiv_gym.registry.guard import boundary, check_advantages, label_of
from fdiv_gym.registry.lookup import Spec, get
from fdiv_gym.registry.messages import shorten
from fdiv_gym.registry.options import Configurable


class Advantage(Configurable):
    """Base of advantage estimators: a function of the whole step's groups, and of a state that ``compute`` only reads.

    Attributes:
        multipliers: factors of the components' weights, by component name; a component without one has the factor 1.
            Callbacks set them, e.g. in ``before_updates``; estimators that weigh components read them by
            ``multiplier``. The trainer keeps them in checkpoints.
    """

    kind: ClassVar[str] = "advantage"
    multipliers: dict[str, float]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.multipliers = {}

    def compute(self, groups: GroupBatch) -> Tensor:
        """Advantages [N] in fp64, one for each response.

        A response without a score gets 0 and does not enter any baseline. If all scores that an
        estimator compares (those of a prompt, or of the step) are equal, every advantage is exactly 0.
        Compare minimum and maximum, because the mean of equal floats may differ from them.
        """
        raise NotImplementedError

    def compared(self, groups: GroupBatch) -> list[Tensor]:
        """What is compared within a prompt, each [N]: the rewards, unless an estimator reads something else.

        ``trainer.dynamic_sampling`` replaces a group whose scored responses are equal in all of them. NaN stands for
        a response that lacks the value.
        """
        return [groups.rewards]

    def multiplier(self, component: str) -> float:
        """The factor of a component's weight: 1, unless ``multipliers`` names the component.

        Raises:
            PluginError: it is no finite number of at least 0.
        """
        value = self.multipliers.get(component, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise PluginError(
                f"{label_of(self)}: the multiplier of {component!r} is {shorten(value)}, expected a finite number of "
                "at least 0; callbacks set multipliers"
            )
        return float(value)

    def at_step(self, step: int, steps: int) -> None:
        """Set the state to ``step`` (from 1 to ``steps``); called once a step, before its rollouts."""

    def state_dict(self) -> Mapping[str, Any]:
        """The state besides ``multipliers``, for checkpoints: JSON values by name; empty without any."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""


def checked_advantages(advantage: Advantage, groups: GroupBatch) -> Tensor:
    """``advantage.compute(groups)``, checked; objectives call this function.

    Advantages that the groups already carry are returned unchanged: a mini-batch must not have a baseline of its own.

    Raises:
        PluginError: naming the plugin, what it returned and what was expected; or the groups carry advantages of
            another estimator, or of other rewards.
    """
    if groups.advantages is not None:
        if not groups.advantages.are_of(advantage, groups):
            raise PluginError(
                f"{type(advantage).__name__}: prepare asks for advantages other than those of the step. With several "
                "updates per rollout they are computed once, on the whole rollout batch, by the objective's "
                "`advantage` from the environment's rewards. Change the rewards in the `compute` of an Advantage and "
                "make it the objective's `advantage`; or set the objective's `advantage` to None, so that each "
                "mini-batch has baselines of its own; or train with updates_per_rollout = 1 and minibatches = 1"
            )
        return groups.advantages.values
    with boundary(advantage, "compute"):
        values: object = advantage.compute(groups)
    return check_advantages(advantage, groups.rewards, values)


def differing(groups: GroupBatch, advantage: Advantage | None = None) -> Tensor:
    """Whether the scored responses of each response's group differ in what the advantage compares; [N] bool.

    Args:
        groups: whole groups.
        advantage: None compares the rewards.

    Raises:
        PluginError: ``advantage.compared`` failed or did not return tensors [N].
    """
    if advantage is None:
        return ~groups.all_equal()
    with boundary(advantage, "compared"):
        found: object = advantage.compared(groups)
        values = list(found) if isinstance(found, list | tuple) else []
        if not values or not all(isinstance(v, Tensor) and v.shape == groups.rewards.shape for v in values):
            raise PluginError(
                f"{label_of(advantage)}: compared must return a list of tensors of shape "
                f"{tuple(groups.rewards.shape)}, got {shorten(found)}"
            )
    return torch.stack([~groups.all_equal(value) for value in values]).any(0)


def get_advantage(spec: Spec | Advantage, **options: Any) -> Advantage:
    """An advantage estimator, e.g. ``get_advantage("group")``; see ``fdiv_gym.get``."""
    plugin: Advantage = get("advantage", spec, **options)
    return plugin
