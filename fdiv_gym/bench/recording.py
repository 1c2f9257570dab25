"""Makes the record of a cell from its run folder, or of its failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdiv_gym.bench.cells import Cell, key_of
from fdiv_gym.bench.matrix_tables import Table
from fdiv_gym.bench.record import LONGEST_ERROR, Record
from fdiv_gym.errors import ConfigError
from fdiv_gym.evaluation import is_sample
from fdiv_gym.registry.messages import printable
from fdiv_gym.registry.options import build_options
from fdiv_gym.runs.changes import differences, listed
from fdiv_gym.runs.config import dotted
from fdiv_gym.runs.folder import EVALUATIONS, PROVENANCE, SAMPLES, SUMMARY, RunFolder


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
