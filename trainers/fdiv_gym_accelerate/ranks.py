"""State that every process of a run has for itself: its random generators and its environment's counters."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

import fdiv_gym as fg
from fdiv_gym.registry import counters_of


class RankState:
    """The state of this process, in checkpoints together with that of all others.

    Args:
        accelerator: knows the other processes.
        env: the environment with its counters, or None.
        report: takes one line about a checkpoint of another number of processes.
    """

    def __init__(self, accelerator: Accelerator, env: fg.Environment | None, report: Callable[[str], None]) -> None:
        self._accelerator, self._env, self._report = accelerator, env, report
        self._saved: dict[str, float] = {}
        self._before: dict[str, float] = {}

    def totals(self) -> dict[str, float]:
        """The environment's totals since the start of the run, through every resume; this process's own."""
        if self._env is None:
            return {}
        found = counters_of(self._env)
        names = [*found, *(name for name in self._saved if name not in found)]
        return {n: self._saved.get(n, 0) + found.get(n, 0) - self._before.get(n, 0) for n in names}

    def counters(self) -> dict[str, float]:
        """``totals`` for the log, with twelve digits: sums of prices in another order differ in the last ones."""
        return {n: float(f"{v:.12g}") if isinstance(v, float) else v for n, v in self.totals().items()}

    def continue_from(self, totals: Mapping[str, float]) -> None:
        """Count on from these totals."""
        self._saved = dict(totals)
        self._before = {} if self._env is None else counters_of(self._env)

    def gathered(self) -> list[dict[str, Any]]:
        """The states of all processes, in every one of them."""
        states: list[dict[str, Any]] = gather_object([{"random": random_states(), "counters": self.totals()}])
        return states

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Restore the state that this process had, or with other numbers of processes a part of the states."""
        processes, index = self._accelerator.num_processes, self._accelerator.process_index
        if len(states) != processes:
            self._report(
                f"the checkpoint is of {len(states)} processes and {processes} resume: other random draws from here on"
            )
        restore_random_states(states[index % len(states)]["random"])
        self.continue_from(states[index]["counters"] if index < len(states) else {})


def seed_random_states(seed: int) -> None:
    """Seed all global random generators, so that a plugin that uses them draws the same in every run of this seed."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """The states of all global random generators (rollouts and data order depend on seed and step only)."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, keys.tolist(), position, has_gauss, cached],  # type: ignore[union-attr]
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Restore the global random generators to ``random_states``."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
