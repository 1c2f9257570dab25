"""The record of a cell: what its run leaves for the tables, in one JSON file that is checked when it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from fdiv_gym.bench.labels import Label
from fdiv_gym.errors import ConfigError, TrainerError
from fdiv_gym.files import open_for_reading, replacing
from fdiv_gym.registry.options import Options, build_options
from fdiv_gym.runs.folder import RunFolder

RECORD = "record.json"
LARGEST = 64 * 2**20
"""Bytes of a record; a longer file is not read."""
LONGEST_ERROR = 4000
"""Characters of the error that a record keeps: its end."""

Name = Annotated[str, pydantic.Strict(), pydantic.Field(min_length=1, max_length=200)]
Number = Annotated[float, pydantic.Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, pydantic.Field(strict=True, ge=0, lt=2**63)]


class Spent(Options):
    """What a run has spent."""

    steps: Whole
    """Steps of the trainer."""
    tokens: Whole
    """Tokens sampled for training."""
    verifications: Whole
    """Responses drawn and scored for training."""
    seconds: Annotated[Number, pydantic.Field(ge=0)]
    """The run's clock at the end of its last step."""


class EventCount(Options):
    """How often an event occurred."""

    policy: Name
    """What it led to."""
    count: Whole
    """Steps."""
    first_step: Whole
    """The first of them."""
    last_step: Whole
    """The last of them."""


class Record(Options):
    """The record of a cell that is done, or has failed."""

    key: Annotated[str, pydantic.Strict(), pydantic.Field(pattern=r"\A[0-9a-f]{64}\z")]
    """SHA-256 of the resolved configuration and the hashes of its plugins."""
    status: Literal["done", "failed"]
    """Whether there is a result."""
    attempts: Annotated[int, pydantic.Field(strict=True, ge=0)]
    """How often the driver that wrote the record started the run; 0 if it found a finished one."""
    error: Annotated[str, pydantic.Strict(), pydantic.Field(max_length=LONGEST_ERROR)] | None
    """The end of the error of a cell that failed."""
    objective: Label
    """Label."""
    environment: Label
    """Label."""
    model: Label
    """Label."""
    seed: Whole
    """Of the run."""
    updates: Whole
    """Optimizer steps of a step."""
    rate: Number | None
    """Learning rate."""
    kind: Literal["table", "tuning", "control"]
    """Whether it counts in the table, chose an option, or is a control."""
    budget: Spent | None
    """What the run has spent; None for a cell that failed."""
    curve: dict[Name, list[Number | None]]
    """``step`` and every metric of the evaluations; null where an evaluation lacks it."""
    final: dict[Name, Number | None] | None
    """The metrics of the last evaluation, at the last step; None for a cell that failed."""
    tasks: dict[Name, list[Number | None]]
    """The scores of the last evaluation's sampled responses by task, null for one without a score."""
    events: dict[Name, EventCount]
    """The events of the run, as in ``summary.json``."""
    seconds: Annotated[Number, pydantic.Field(ge=0)] | None
    """The run's clock at its end; None for a cell that failed."""

    @pydantic.model_validator(mode="after")
    def _is_consistent(self) -> Record:
        if self.status == "failed":
            if (
                self.final is not None
                or self.budget is not None
                or self.seconds is not None
                or self.tasks
                or self.curve
            ):
                raise ValueError("a cell that failed has no result: final, budget, seconds, tasks and curve are empty")
            if not self.error:
                raise ValueError("a cell that failed has an error")
            return self
        if self.final is None or self.budget is None or self.seconds is None or self.error is not None:
            raise ValueError("a cell that is done has final, budget and seconds, and no error")
        self._check_curve()
        self._check_tasks()
        return self

    def _check_curve(self) -> None:
        assert self.final is not None
        assert self.budget is not None
        steps = self.curve.get("step", [])
        whole = all(step is not None and step >= 0 and float(step).is_integer() for step in steps)
        if not steps or not whole or any(b <= a for a, b in pairwise(steps)):  # type: ignore[operator]
            raise ValueError("curve.step must be whole numbers that rise")
        if steps[-1] != self.budget.steps:
            raise ValueError(f"the last evaluation is of step {steps[-1]}, and the run has {self.budget.steps} steps")
        for name, values in self.curve.items():
            if len(values) != len(steps):
                raise ValueError(f"curve: {name} has {len(values)} values for {len(steps)} evaluations")
        last = {name: values[-1] for name, values in self.curve.items() if name != "step"}
        if {name: value for name, value in last.items() if value is not None} != {
            name: value for name, value in self.final.items() if value is not None
        }:
            raise ValueError("final is not the last point of the curve")

    def _check_tasks(self) -> None:
        assert self.final is not None
        if len({len(scores) for scores in self.tasks.values()}) > 1:
            raise ValueError("tasks: every task has the same number of scores")
        scored = [score for scores in self.tasks.values() for score in scores if score is not None]
        mean = self.final.get("score/sampled")
        if (mean is None) != (not scored):
            raise ValueError("tasks: their scores and final score/sampled do not belong together")
        if mean is not None and not math.isclose(mean, sum(scored) / len(scored), rel_tol=1e-9, abs_tol=1e-9):
            raise ValueError(
                f"tasks: the mean of their scores is {sum(scored) / len(scored)}, not score/sampled = {mean}"
            )


def write_record(folder: Path, record: Record) -> None:
    """Write ``record.json`` of a cell's folder atomically.

    Raises:
        TrainerError: the disk is full, or the folder cannot be written.
    """
    with RunFolder(folder).writing(RECORD), replacing(folder / RECORD) as file:
        json.dump(record.model_dump(mode="json"), file, allow_nan=False)
        file.write("\n")


def read_record(folder: Path) -> Record | None:
    """The record of a cell's folder; None if there is none. The file may be another person's: nothing is evaluated.

    Raises:
        ConfigError: it is damaged, too long or contradicts itself; the message names the field.
        TrainerError: it cannot be read.
    """
    path = folder / RECORD
    try:
        with open_for_reading(path) as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TrainerError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise ConfigError(f"{path} has more than {LARGEST // 2**20} MB: it is no record of a cell")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is damaged: it holds no JSON object")
    return parse_record(values, str(path))


def parse_record(values: Mapping[str, Any], where: str) -> Record:
    """Check the content of a ``record.json``.

    Args:
        values: may be another person's.
        where: begins the message of an error.

    Raises:
        ConfigError: a field is missing, damaged or contradicts another one.
    """
    missing = Record.model_fields.keys() - values.keys()
    if missing:
        raise ConfigError(f"{where} is damaged: it lacks {', '.join(sorted(missing))}")
    try:
        return build_options(Record, values, where)
    except ConfigError as error:  # a hostile file may have a million errors
        raise ConfigError(str(error)[:LONGEST_ERROR]) from None
