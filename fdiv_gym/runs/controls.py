"""Controls: what a callback may change between the steps of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fdiv_gym.errors import ConfigError
from fdiv_gym.registry.guard import label_of
from fdiv_gym.registry.messages import shorten

if TYPE_CHECKING:
    from fdiv_gym.objectives.advantages.base import Advantage
    from fdiv_gym.objectives.base import Objective


class Controls:
    """What ``Callback.before_updates`` may change. A change holds until the next one, and through a resume.

    With several processes every one of them must make the same changes.

    Args:
        objective: of the run.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    @property
    def advantage(self) -> Advantage | None:
        """The objective's estimator, or None; its ``multipliers`` may be set."""
        return self._objective.advantage

    @property
    def has_penalty(self) -> bool:
        """Whether the objective has a term that ``kl_scale`` multiplies."""
        return self._objective.has_penalty

    @property
    def kl_scale(self) -> float:
        """Factor of the coefficient of the objective's k3 term or divergence penalty, 1 at the start.

        Setting it raises ConfigError where the objective has no such term, or for anything but a finite number of at
        least 0.
        """
        return self._objective.kl_scale

    @kl_scale.setter
    def kl_scale(self, value: float) -> None:
        if not self._objective.has_penalty:
            raise ConfigError(
                f"kl_scale: {label_of(self._objective)} has no k3 term and no divergence penalty that it could "
                "multiply; take an on-policy objective with a penalty, or grpo with beta above 0"
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ConfigError(f"kl_scale is a finite number of at least 0, got {shorten(value)}")
        self._objective.kl_scale = float(value)
