"""What the drift monitor reads from one step: spread, level and eigenvalue of each dimension."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

import fdiv_gym as fg
from fdiv_gym_gprl.names import ANCHORED, EIGENVALUE, SCORE, dimensions

LARGEST = 1e100
"""Largest variance that is read; below its inverse a variance counts as none. Their ratio is a finite number."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """One dimension in one step.

    Args:
        variance: the mean over prompts of the variance within the prompt (divided by the number of values).
        eigenvalue: the mean over the responses; 1 for a component without one.
        level: the mean over the responses of an absolute value: the score against the anchors, or the component itself
            where it is no group score. None where there is no such value: group scores always have the mean 0.
    """

    variance: float
    eigenvalue: float
    level: float | None


def watched(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The components to watch: ``wanted``, else those of a preference model, else all of them."""
    if wanted:
        return list(wanted)
    return [SCORE + one for one in dimensions(names)] or sorted(names)


def read(groups: fg.GroupBatch, name: str) -> Reading | None:
    """The reading of the component ``name``; None if no prompt has two responses with it.

    Raises:
        ConfigError: its values are too large for a variance, or its eigenvalues are negative.
    """
    values = groups.components.get(name)
    if values is None:
        return None
    usable = groups.scored & values.isfinite()
    own = dataclasses.replace(groups, rewards=torch.where(usable, values.double(), torch.nan))
    counts = own.sum(torch.ones_like(own.rewards))
    compared = own.scored & (counts > 1)
    if not bool(compared.any()):
        return None
    # Each response weighs 1/n of its prompt, so that the sum is the mean over prompts.
    weights = torch.where(compared, 1.0 / counts, 0.0)
    # Compared by minimum and maximum: the mean of equal floats may differ from them.
    differs = compared & ~own.all_equal()
    squares = torch.where(differs, (own.rewards - own.mean(own.rewards)) ** 2, 0.0)
    variance = float((weights * squares).sum() / weights.sum())
    if variance > LARGEST:
        raise fg.ConfigError(
            f"drift-monitor: the component {name!r} has the variance {variance:g} within prompts, more than "
            f"{LARGEST:g}: scale it, or name others in components"
        )
    variance = variance if variance >= 1 / LARGEST else 0.0
    if not name.startswith(SCORE):
        return Reading(variance, 1.0, _mean(own, own.rewards))
    suffix = name.removeprefix(SCORE)
    eigenvalues, anchored = (groups.components.get(prefix + suffix) for prefix in (EIGENVALUE, ANCHORED))
    if eigenvalues is not None and bool((eigenvalues < 0).any()):
        raise fg.ConfigError(f"drift-monitor: {EIGENVALUE + suffix!r} is {float(eigenvalues.min()):g}, expected >= 0")
    eigenvalue = None if eigenvalues is None else _mean(own, eigenvalues)
    level = None if anchored is None else _mean(own, anchored)
    return Reading(variance, 1.0 if eigenvalue is None else eigenvalue, level)


def _mean(groups: fg.GroupBatch, values: torch.Tensor) -> float | None:
    """The mean over the scored responses that have the value; None if none has it."""
    kept = values[groups.scored & values.isfinite()]
    return float(kept.double().mean()) if kept.numel() else None
