"""The rows of one step, and their division into mini-batches of whole groups and whole preference units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import fdiv_gym as fg
from fdiv_gym.objectives import Stream
from fdiv_gym.rollouts import derive_seed
from fdiv_gym_accelerate.streams import StreamBatch, whole_groups, whole_preferences


@dataclass(frozen=True)
class Gathered:
    """The rows of all processes as ``prepare`` gets them, and which of them are this process's."""

    groups: fg.GroupBatch | None
    preferences: fg.PreferenceBatch | None
    own: Mapping[Stream, slice]


@dataclass(frozen=True)
class StepRows:
    """This process's rows of one step, or of a mini-batch of it.

    Args:
        streams: the rows of each stream that is read.
        groups: the groups of the rollouts, in the order of their rows.
        chosen: of the preferences, whether each row is a chosen one.
    """

    streams: Mapping[Stream, StreamBatch]
    groups: Sequence[fg.TrajectoryGroup] = ()
    chosen: Sequence[bool] = ()

    def count(self, stream: Stream) -> int:
        """Groups or preference units: what a mini-batch never divides."""
        return len(self.groups) if stream == "rollouts" else len(self.streams[stream].units)

    def part(self, picked: Mapping[Stream, Sequence[int]]) -> StepRows:
        """Some groups and some preference units, by their places."""
        streams: dict[Stream, StreamBatch] = {}
        groups: list[fg.TrajectoryGroup] = []
        chosen: list[bool] = []
        if "rollouts" in self.streams:
            ends = np.cumsum([len(group.trajectories) for group in self.groups])
            rows = [r for i in picked["rollouts"] for r in range(ends[i] - len(self.groups[i].trajectories), ends[i])]
            streams["rollouts"] = self.streams["rollouts"].part(rows)  # each response is a unit
            groups = [self.groups[i] for i in picked["rollouts"]]
        if "preferences" in self.streams:
            whole = self.streams["preferences"]
            streams["preferences"] = whole.part(picked["preferences"])
            chosen = [self.chosen[row] for unit in picked["preferences"] for row in whole.units[unit]]
        return StepRows(streams, groups, chosen)

    def gathered(self) -> Gathered:
        """The rows of all processes; every process must call it."""
        own: dict[Stream, slice] = {}
        groups, preferences = None, None
        if "rollouts" in self.streams:
            groups, own["rollouts"] = whole_groups(self.groups, self.streams["rollouts"])
        if "preferences" in self.streams:
            preferences, own["preferences"] = whole_preferences(self.chosen, self.streams["preferences"])
        return Gathered(groups, preferences, own)


def mini_batches(rows: StepRows, parts: int, seed: int, *place: object) -> Iterator[StepRows]:
    """One pass over the rows in ``parts`` nearly equal mini-batches.

    Args:
        rows: this process's rows, with at least ``parts`` groups or units in each stream.
        parts: their number; 1 gives all rows in their own order.
        seed: of the run.
        place: what else the shuffle depends on: step, pass and process.
    """
    if parts == 1:
        yield rows
        return
    orders: dict[Stream, list[np.ndarray]] = {}
    for stream in rows.streams:
        rng = np.random.default_rng(derive_seed(seed, *place, stream))
        orders[stream] = np.array_split(rng.permutation(rows.count(stream)), parts)
    for i in range(parts):
        yield rows.part({stream: order[i].tolist() for stream, order in orders.items()})
