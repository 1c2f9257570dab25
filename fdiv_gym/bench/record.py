"""The record of a cell: what its run leaves for the tables, in one JSON file that is checked when it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from fdiv_gym.bench.cells import Cell, key_of
from fdiv_gym.bench.labels import Label
from fdiv_gym.bench.matrix import Table
from fdiv_gym.errors import ConfigError, TrainerError
from fdiv_gym.evaluation import is_sample
from fdiv_gym.files import open_for_reading, replacing
from fdiv_gym.registry.messages import printable
from fdiv_gym.registry.options import Options, build_options
from fdiv_gym.runs.changes import differences, listed
from fdiv_gym.runs.config import dotted
from fdiv_gym.runs.folder import EVALUATIONS, PROVENANCE, SAMPLES, SUMMARY, RunFolder

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


def record_of(cell: Cell, folder: Path, attempts: int) -> Record:
    """The record of a cell whose run has finished.

    Args:
        cell: what was to be run.
        folder: the run folder.
        attempts: how often it was started.

    Raises:
        ConfigError: the run is another one than the cell's, did not spend its budget, or has no results.
        TrainerError: a file of the run is missing or damaged.
    """
    run = RunFolder.open_existing(folder)
    summary = finished(run)
    refuse_other_run(cell, run)
    ended_by = summary.get("ended_by")
    wanted = cell.values["trainer"].get("budget")
    kind = next(iter(wanted)) if isinstance(wanted, Mapping) else "steps"
    if ended_by != kind:
        raise ConfigError(
            f"the run in {folder} was ended by {printable(str(ended_by))} and not by its budget of {kind}, so it is "
            "not on equal terms: raise base.trainer.steps"
        )
    options = cell.config.trainer.checked_options
    counts = (getattr(options, "evaluate_tasks", None), getattr(options, "evaluate_samples", None))
    values = _labels(cell) | {"attempts": attempts} | measured(run, counts if cell.config.env is not None else None)
    return build_options(Record, values, f"the run in {folder}")


def finished(run: RunFolder) -> Table:
    """The summary of a run that has finished.

    Raises:
        ConfigError: it has not.
        TrainerError: the file is damaged.
    """
    summary: Table = run.read_json(SUMMARY)
    if summary.get("status") != "finished":
        raise ConfigError(
            f"the run in {run.path} is not finished: its status is {printable(repr(summary.get('status')))}"
        )
    return summary


def measured(run: RunFolder, counts: tuple[int | None, int | None] | None) -> Table:
    """The fields of a record that a finished run has measured.

    Args:
        run: its folder.
        counts: tasks of an evaluation and samples of each task; None without an environment.

    Raises:
        ConfigError: there is no evaluation of the last step, or its samples are not all there.
        TrainerError: a file of the run is missing or damaged.
    """
    summary, lines = finished(run), run.lines(EVALUATIONS)
    steps, spent = summary.get("steps"), summary.get("spent")
    if not lines or lines[-1].get("step") != steps:
        raise ConfigError(f"the run in {run.path} has no evaluation of its last step, {printable(str(steps))}")
    return {
        "status": "done",
        "error": None,
        "budget": {"steps": steps, **(spent if isinstance(spent, Mapping) else {})},
        "curve": _curve(lines),
        "final": {name: value for name, value in lines[-1].items() if name != "step"},
        "tasks": {} if counts is None else _tasks(run, steps, counts),
        "events": summary.get("events", {}),
        "seconds": summary.get("seconds"),
    }


def failed_record(cell: Cell, attempts: int, error: str) -> Record:
    """The record of a cell that failed in every attempt.

    Args:
        cell: what was to be run.
        attempts: how often it was started.
        error: its output or message, of which the end is kept.
    """
    text = printable(error.encode("utf-8", "replace").decode()).strip()[-LONGEST_ERROR:] or "it ended without a message"
    empty: Table = {"budget": None, "curve": {}, "final": None, "tasks": {}, "events": {}, "seconds": None}
    values = _labels(cell) | empty | {"status": "failed", "attempts": attempts, "error": text}
    return build_options(Record, values, f"cell {cell.id}")


def refuse_other_run(cell: Cell, run: RunFolder) -> None:
    """Refuse a run that is not the cell's.

    Raises:
        ConfigError: its configuration or its plugins differ; the message names what.
        TrainerError: a file of the run is damaged.
    """
    resolved = run.config()
    changed = differences(dotted(resolved), dotted(cell.config.resolved()))
    if changed:
        raise ConfigError(f"the run in {run.path} has another configuration than the cell: {listed(changed)}")
    record = run.read_json(PROVENANCE)
    began, plugins = record.get("config"), record.get("plugins")
    if not record:  # killed before anything was recorded
        return
    if began != dotted(resolved) or record.get("changes") or record.get("earlier_plugins"):
        raise ConfigError(f"the run in {run.path} was changed after its start, so it is not the cell's")
    try:
        key = key_of(resolved, plugins)  # type: ignore[arg-type] # of a file
    except (AttributeError, KeyError, TypeError):
        raise ConfigError(f"{run.path / PROVENANCE} does not tell the plugins of the run") from None
    if key != cell.key:
        raise ConfigError(
            f"the plugins of the run in {run.path} are not those that are installed: their code has changed"
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


def _labels(cell: Cell) -> dict[str, Any]:
    names = ("key", "kind", "objective", "environment", "model", "seed", "updates", "rate")
    return {name: getattr(cell, name) for name in names}


def _curve(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(name for line in lines for name in line))
    return {name: [line.get(name) for line in lines] for name in ("step", *(n for n in names if n != "step"))}


def _tasks(run: RunFolder, step: object, counts: tuple[int | None, int | None]) -> dict[str, list[float | None]]:
    """The scores of the sampled responses to each held-out task at ``step``, in the order of the tasks."""
    found: dict[tuple[int, str], dict[int, float | None]] = {}
    for line in run.lines(SAMPLES):
        if (line.get("step"), line.get("split"), line.get("mode")) != (step, "heldout", "sampled"):
            continue
        if not is_sample(line):
            raise ConfigError(f"{run.path / SAMPLES} has a damaged sample of step {step}")
        scores = found.setdefault((line["index"], line["task_hash"]), {})
        if line["sample"] in scores:
            raise ConfigError(f"{run.path / SAMPLES} has sample {line['sample']} of task {line['index']} twice")
        scores[line["sample"]] = line["verdict"]["score"]
    tasks, samples = counts
    if not found or (tasks is not None and len(found) > tasks) or any(len(s) != samples for s in found.values()):
        raise ConfigError(
            f"{run.path / SAMPLES} does not hold the {samples} sampled responses to each task of the last evaluation: "
            "raise trainer.samples_max_mb"
        )
    return {
        f"{index}-{task}": [score for _, score in sorted(scores.items())]
        for (index, task), scores in sorted(found.items())
    }
