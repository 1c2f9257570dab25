"""The data of a formula: one training step as numpy arrays, and derivatives by central differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Rollouts:
    """Responses in groups.

    Args:
        logps: [N, T] fp64, log-probs of the tokens under the policy, in nats.
        ref: [N, T] under the reference.
        old: [N, T] under the sampling policy.
        mask: [N, T] bool, True on response tokens.
        rewards: [N] fp64, NaN where there is no score.
        group: [N] int, numbered from 0.
    """

    logps: Array
    ref: Array
    old: Array
    mask: Array
    rewards: Array
    group: Array

    def total(self, values: Array) -> Array:
        """[N]: sums over response tokens."""
        return np.asarray(np.where(self.mask, values, 0.0).sum(1))

    @property
    def lengths(self) -> Array:
        """[N]: response tokens."""
        return np.asarray(self.mask.sum(1))

    @property
    def shares(self) -> Array:
        """[N]: 1/(P G), so that a sum over responses is a mean over prompts of means over their responses."""
        sizes = np.array([(self.group == g).sum() for g in self.group])
        return 1.0 / (len(set(self.group.tolist())) * sizes)


@dataclass(frozen=True)
class Preferences:
    """Responses that are chosen or rejected.

    Args:
        logps: [N, T] fp64, log-probs of the tokens under the policy, in nats.
        ref: [N, T] under the reference.
        mask: [N, T] bool, True on response tokens.
        chosen: [N] bool.
        unit: [N] int, the pair of each row.
    """

    logps: Array
    ref: Array
    mask: Array
    chosen: Array
    unit: Array

    def total(self, values: Array) -> Array:
        """[N]: sums over response tokens."""
        return np.asarray(np.where(self.mask, values, 0.0).sum(1))

    @property
    def lengths(self) -> Array:
        """[N]: response tokens."""
        return np.asarray(self.mask.sum(1))

    def pairs(self, values: Array) -> tuple[Array, Array]:
        """``values`` [N] on the chosen and on the rejected row of each pair, [pairs] each."""
        units = sorted(set(self.unit.tolist()))
        rows = [[values[(self.unit == u) & (self.chosen == side)][0] for u in units] for side in (True, False)]
        return np.array(rows[0]), np.array(rows[1])


@dataclass(frozen=True)
class Data:
    """One training step.

    Args:
        rollouts: responses in groups.
        preferences: chosen and rejected responses.
    """

    rollouts: Rollouts
    preferences: Preferences

    def moved(self, stream: Literal["rollouts", "preferences"], place: tuple[int, int], by: float) -> Data:
        """The same data with one log-prob of the policy changed."""
        rows = getattr(self, stream)
        logps = rows.logps.copy()
        logps[place] += by
        return replace(self, **{stream: replace(rows, logps=logps)})


def central_differences(
    formula: Callable[[Data], float], data: Data, stream: Literal["rollouts", "preferences"], size: float = 1e-5
) -> Array:
    """[N, T]: the derivative of ``formula`` by the policy's log-prob of each response token of ``stream``."""
    rows = getattr(data, stream)
    gradient = np.zeros(rows.logps.shape)
    for row, token in np.argwhere(rows.mask):
        place = (int(row), int(token))
        ahead, behind = formula(data.moved(stream, place, size)), formula(data.moved(stream, place, -size))
        gradient[place] = (ahead - behind) / (2 * size)
    return gradient
