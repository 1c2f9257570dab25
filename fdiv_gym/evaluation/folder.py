"""The folder of an evaluation: locked by one process, for one plan, and resumed after an interruption.

::

    evaluation.json    the plan: everything that determines the samples
    samples.jsonl      one line for each response; see ``fdiv_gym.evaluation.samples``
    results.json       metrics, written at the end
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fdiv_gym.errors import ConfigError
from fdiv_gym.evaluation.plan import Plan, identified
from fdiv_gym.evaluation.samples import is_sample
from fdiv_gym.files import replacing
from fdiv_gym.runs.folder import SAMPLES, WRITER, RunFolder, json_line
from fdiv_gym.runs.lock import locked
from fdiv_gym.types.task import Task

PLAN = "evaluation.json"


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Create the folder and lock it: two evaluations must not write into one file.

    Raises:
        ConfigError: another process has locked it.
        TrainerError: it cannot be created.
    """
    with locked(folder, "the evaluation folder", "choose another --output"):
        yield


def open_folder(plan: Plan, folder: Path) -> RunFolder:
    """The folder; the plan is written into it if it is new.

    Raises:
        ConfigError: it contains another evaluation, or other files.
    """
    store = RunFolder(folder)
    record = json.loads(json.dumps(plan.record()))
    known = store.read_json(PLAN)
    if known and not store.lines(SAMPLES):
        known = {}  # it failed before its first sample, so there is nothing to keep
        (folder / PLAN).unlink()
    if known:
        there, here = identified(known), identified(record)
        different = [key for key in {**there, **here} if there.get(key) != here.get(key)]
        if different:
            raise ConfigError(
                f"{folder} contains another evaluation (another {', '.join(different)}): choose another --output"
            )
        return store
    others = [path for path in folder.iterdir() if path.name != WRITER] if folder.is_dir() else []
    if any(path.name != SAMPLES or path.stat().st_size for path in others):
        raise ConfigError(f"{folder} is not empty and contains no evaluation: choose another --output")
    store.write_json(PLAN, record)
    return store


def remove_if_nothing_drawn(folder: Path) -> None:
    """Remove the plan of an evaluation that failed before its first sample; ``hold`` removes the folder it created."""
    if not (folder / SAMPLES).exists():
        (folder / PLAN).unlink(missing_ok=True)


def complete_records(store: RunFolder, tasks: Sequence[Task], plan: Plan) -> list[dict[str, Any]]:
    """The records of complete batches; an incomplete batch of an interrupted evaluation is removed.

    Raises:
        ConfigError: a line is damaged, or the environment's tasks have changed.
    """
    lines = store.lines(SAMPLES)
    place = store.path / SAMPLES
    if len(lines) > len(tasks) * plan.samples:
        raise ConfigError(
            f"{place} has {len(lines)} samples for {len(tasks)} tasks: the environment's tasks have changed"
        )
    whole = len(lines) // plan.samples
    done = whole if whole == len(tasks) else whole // plan.batch * plan.batch
    kept = lines[: done * plan.samples]
    for number, line in enumerate(kept):
        if not is_sample(line) or (line["index"], line["sample"]) != divmod(number, plan.samples):
            raise ConfigError(
                f"{place}, line {number + 1} is damaged: remove it and all that follow, then run the command again"
            )
        if line["task_hash"] != tasks[number // plan.samples].hash:
            raise ConfigError(f"{place}, line {number + 1}: the environment's tasks have changed")
    if len(kept) < len(lines) or place.exists():
        with store.writing(SAMPLES), replacing(place) as file:
            file.writelines(json_line(line) + "\n" for line in kept)
    return kept
