"""What the cells of a matrix have left, by their place in the matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdiv_gym.bench.cells import FOLDERS, id_of
from fdiv_gym.bench.matrix import Matrix
from fdiv_gym.bench.record import Record
from fdiv_gym.bench.resampling import Values
from fdiv_gym.errors import BenchError
from fdiv_gym.registry.guard import close_plugin, score_range_of
from fdiv_gym.registry.messages import shorten
from fdiv_gym.registry.reference import PluginRef

METRIC = "score/sampled"
"""The final score of a cell."""
NOT_RUN = "not run"
NO_SCORE = "no response of the last evaluation has a score"
LONGEST_REASON = 300


@dataclass(frozen=True)
class Results:
    """The records of a matrix.

    Args:
        matrix: of which only the labels, seeds, updates and the budget are read.
        records: by the cell's folder, relative to that of the bench, e.g. ``cells/<id>``.
        ranges: the lowest and the highest score of each environment.
    """

    matrix: Matrix
    records: Mapping[str, Record]
    ranges: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        for view in self.views():
            for objective in view.objectives:
                for environment in view.environments:
                    for seed in view.seeds:
                        _refuse_other_place(view, objective, environment, seed)
        places = {view.name(o, e, s) for view in self.views() for o in view.objectives for e in view.environments
                  for s in view.seeds}  # fmt: skip
        foreign = [name for name, record in self.records.items() if record.kind == "table" and name not in places]
        if foreign:
            raise BenchError(f"the record of {shorten(foreign[0])} is of no cell of the matrix")

    def views(self) -> list[View]:
        """One for each model and each way to use a rollout, in the matrix's order."""
        models = [entry.label for entry in self.matrix.all_models]
        ways = self.matrix.updates
        updates = [None] if ways is None else [each.count for each in ways]
        return [View(self, model, count) for model in models for count in updates]

    def controls(self, suffix: str) -> dict[str, Record]:
        """The control cells with a suffix, by their folder."""
        prefix, end = f"{FOLDERS['control']}/", f"--{suffix}"
        found = sorted(self.records.items())
        return {name: r for name, r in found if name.startswith(prefix) and name.endswith(end)}

    def missing(self) -> list[dict[str, str]]:
        """The cells without a score, in the matrix's order, then the others that failed; each with the reason."""
        found = {}
        for view in self.views():
            for objective in view.objectives:
                for environment in view.environments:
                    for seed in view.seeds:
                        name = view.name(objective, environment, seed)
                        why = reason(self.records.get(name))
                        if why:
                            found[name] = why
        for name, record in sorted(self.records.items()):
            if record.status == "failed" and name not in found:
                found[name] = reason(record)
        return [{"cell": name, "why": why} for name, why in found.items()]


@dataclass(frozen=True)
class View:
    """The records of one model and one way to use a rollout.

    Args:
        results: all of them.
        model: label.
        variant: optimizer steps of a step; None where the matrix has no ``updates``.
    """

    results: Results
    model: str
    variant: int | None

    @property
    def objectives(self) -> list[str]:
        """Labels."""
        return [entry.label for entry in self.results.matrix.objectives]

    @property
    def environments(self) -> list[str]:
        """Labels."""
        return [entry.label for entry in self.results.matrix.environments]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the table."""
        return self.results.matrix.seeds

    @property
    def updates(self) -> int:
        """Optimizer steps of a step; without ``updates`` in the matrix the fewest of its records."""
        if self.variant is not None:
            return self.variant
        records = self.results.records.values()
        return min((r.updates for r in records if (r.kind, r.model) == ("table", self.model)), default=1)

    def name(self, objective: str, environment: str, seed: int) -> str:
        """The folder of a cell."""
        return f"{FOLDERS['table']}/{id_of(objective, environment, self.model, seed, self.variant)}"

    def record(self, objective: str, environment: str, seed: int) -> Record | None:
        """The record of a cell that has a score."""
        record = self.results.records.get(self.name(objective, environment, seed))
        return None if reason(record) else record

    def group(self, objective: str, environment: str) -> list[Record] | None:
        """The records of all seeds; None if one is missing."""
        records = [self.record(objective, environment, seed) for seed in self.seeds]
        complete = [record for record in records if record is not None]
        return complete if len(complete) == len(records) else None

    def failed(self, objective: str) -> int:
        """The number of cells without a score."""
        cells = [self.record(objective, environment, seed) for environment in self.environments for seed in self.seeds]
        return sum(record is None for record in cells)

    def is_complete(self, environment: str) -> bool:
        """Whether every objective has a score for every seed."""
        return all(self.group(objective, environment) is not None for objective in self.objectives)

    @property
    def complete(self) -> list[str]:
        """The environments that count in aggregates."""
        return [environment for environment in self.environments if self.is_complete(environment)]

    def normalised(self, environment: str, scores: Any) -> Values:
        """Scores as shares of the environment's range."""
        low, high = self.results.ranges[environment]
        return (np.asarray(scores, dtype=np.float64) - low) / (high - low)

    def final(self, objective: str, environment: str) -> Values:
        """The final normalised scores [seeds]; NaN for a cell without one."""
        records = [self.record(objective, environment, seed) for seed in self.seeds]
        return self.normalised(environment, [math.nan if r is None else final_score(r) for r in records])

    def matrix_of(self, objective: str, environments: Sequence[str]) -> Values:
        """The final normalised scores [seeds, environments]."""
        return np.stack([self.final(objective, environment) for environment in environments], axis=1)

    def untrained(self, environment: str) -> float | None:
        """The normalised score before training: the mean of the evaluations at step 0; None without any."""
        found = [
            record.curve[METRIC][0]
            for objective in self.objectives
            for record in self.group(objective, environment) or ()
            if record.curve["step"][0] == 0 and record.curve[METRIC][0] is not None
        ]
        return float(self.normalised(environment, found).mean()) if found else None


def final_score(record: Record) -> float:
    """The score of the last evaluation, in the environment's unit; NaN if there is none."""
    score = (record.final or {}).get(METRIC)
    return math.nan if score is None else score


def reason(record: Record | None) -> str:
    """Why a cell has no score; "" if it has one."""
    if record is None:
        return NOT_RUN
    if record.status == "failed":
        lines = (record.error or "").strip().splitlines()
        return lines[-1][-LONGEST_REASON:] if lines else "no message"
    return NO_SCORE if math.isnan(final_score(record)) else ""


def ranges_of(matrix: Matrix) -> dict[str, tuple[float, float]]:
    """The lowest and the highest score of each environment of a matrix, by its label.

    Raises:
        ConfigError: an environment or one of its options is unknown.
        EnvError: it declares no range of scores.
    """
    return {entry.label: _range_of(entry.env) for entry in matrix.environments}


def _range_of(table: Mapping[str, Any]) -> tuple[float, float]:
    options = {key: value for key, value in table.items() if key != "id"}
    reference: PluginRef[Any] = PluginRef.of("environment", {"name": table.get("id"), **options}, "[env]")
    declared = getattr(reference.plugin_class, "score_range", None)
    if isinstance(declared, tuple):  # of the class: no environment is built, which may read a data set
        low, high = declared
        return float(low), float(high)
    environment = reference.build()
    try:
        low, high = score_range_of(environment)
    finally:
        close_plugin(environment)
    return float(low), float(high)


def _refuse_other_place(view: View, objective: str, environment: str, seed: int) -> None:
    name = view.name(objective, environment, seed)
    record = view.results.records.get(name)
    if record is None:
        return
    expected = {"kind": "table", "objective": objective, "environment": environment, "model": view.model, "seed": seed}
    if view.variant is not None:
        expected["updates"] = view.variant
    for key, value in expected.items():
        if getattr(record, key) != value:
            raise BenchError(f"the record of {name} has {key} = {shorten(getattr(record, key))}, expected {value!r}")
