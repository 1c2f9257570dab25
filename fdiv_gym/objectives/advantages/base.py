"""Advantage: the reward of a response relative to a baseline, such as the mean reward of its prompt."""

from __future__ import annotations

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
    """Base of advantage estimators: a pure function of the whole step's groups."""

    kind: ClassVar[str] = "advantage"

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
