"""Tuning: options chosen for each objective, on seeds and tasks that the table never uses.

The trials of all objectives are equally many, and their cells are plain ones of the kind ``tuning``. What they reached
is in their records and nowhere else: a tuning that is started again reads them, and asks for the same trials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from fdiv_gym.bench.cells import SHARED_OF_TRAINER, UPDATES, Cell, expand
from fdiv_gym.bench.folder import Outcome
from fdiv_gym.bench.matrix import Matrix
from fdiv_gym.bench.matrix_tables import Tuning
from fdiv_gym.bench.record import read_record
from fdiv_gym.bench.search import Chosen, combinations, search_of
from fdiv_gym.errors import BenchError, ConfigError
from fdiv_gym.registry.guard import close_plugin, score_range_of
from fdiv_gym.registry.messages import shorten
from fdiv_gym.runs.config import RunConfig
from fdiv_gym.runs.folder import RunFolder

TUNING = "tuning.json"
CHECKED = 100
"""Combinations whose configuration is checked before anything runs, for each objective."""

Run = Callable[[Sequence[Cell]], Outcome]
Row = Mapping[str, Any]
"""One of ``trials`` in tuning.json."""


@dataclass(frozen=True)
class Tuned:
    """The end of a tuning.

    Args:
        chosen: options by dotted key, for the label of each objective; None if it was interrupted.
        done: ids of cells with a result.
        failed: ids of cells that failed.
    """

    chosen: dict[str, Chosen] | None
    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def tune(matrix: Matrix, folder: Path, run: Run) -> Tuned:
    """Run the trials of ``[tuning]`` and write ``tuning.json``; without the table nothing is chosen.

    Args:
        matrix: the matrix.
        folder: of the bench.
        run: runs cells that have no record.

    Raises:
        BenchError: every trial of an objective has a failed cell, or the table's tasks are also those of the tuning.
        ConfigError: an option cannot be tuned, or a trial's configuration is wrong.
        MissingExtraError: optuna is not installed.
    """
    tuning = matrix.tuning
    if tuning is None:
        return Tuned({})
    refuse_shared(tuning)
    ranges = score_ranges(expand(matrix.narrowed(), kind="tuning", seeds=tuning.seeds[:1]))
    searches = {entry.label: search_of(tuning) for entry in matrix.objectives}
    rows: list[dict[str, Any]] = []
    done: list[str] = []
    failed: list[str] = []
    while True:
        asked = {label: search.ask() for label, search in searches.items()}
        first, batch = len({row["trial"] for row in rows}), len(next(iter(asked.values())))
        if not batch:
            break
        pairs = [
            pair
            for number in range(batch)
            for pair in trial_cells(matrix, {label: trials[number] for label, trials in asked.items()}, first + number)
        ]
        outcome = run([cell for _, cell in pairs])
        done += outcome.done
        failed += outcome.failed
        if outcome.interrupted:
            return Tuned(None, tuple(done), tuple(failed))
        rows += [row | {"value": _value(folder, cell, tuning.metric)} for row, cell in pairs]
        for label, search in searches.items():
            means = means_of(rows, label, ranges)
            search.tell([means[trial] for trial in sorted(means) if trial >= first])
    choice = choice_of(rows, tuning.values, ranges)
    record = {
        "method": tuning.method, "metric": tuning.metric, "split": tuning.split,
        "values": {key: list(values) for key, values in tuning.values.items()},
        "score_range": {label: list(ends) for label, ends in ranges.items()}, "trials": rows, **choice,
    }  # fmt: skip
    if RunFolder(folder).read_json(TUNING) != record:
        RunFolder(folder).write_json(TUNING, record)
    return Tuned(choice["chosen"], tuple(done), tuple(failed))


def trial_cells(matrix: Matrix, options: Mapping[str, Chosen], trial: int) -> list[tuple[dict[str, Any], Cell]]:
    """The cells of one trial of every objective, each with its row of ``tuning.json`` without the value.

    They use the first way of ``updates``.

    Args:
        matrix: with the table ``[tuning]``.
        options: of this trial, for the label of each objective.
        trial: its number, from 0.
    """
    assert matrix.tuning is not None
    cells = expand(matrix.narrowed(), chosen=options, kind="tuning", seeds=matrix.tuning.seeds, suffix=f"trial{trial}")
    return [
        (
            {
                "objective": cell.objective, "trial": trial, "options": dict(options[cell.objective]),
                "environment": cell.environment, "model": cell.model, "seed": cell.seed, "cell": cell.id,
            },
            cell,
        )
        for cell in cells
    ]  # fmt: skip


def choice_of(
    rows: Sequence[Row], values: Mapping[str, Sequence[Any]], ranges: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, Any]]:
    """The best trial of each objective: the largest mean over its cells, and the first of equal ones.

    Args:
        rows: ``trials`` of ``tuning.json``.
        values: the values that were to choose from.
        ranges: lowest and highest score of each environment.

    Returns:
        ``chosen``, options by the label of the objective, and ``at_edge``, the keys whose chosen number is the smallest
        or the largest of at least two.

    Raises:
        BenchError: every trial of an objective has a cell without a value.
    """
    chosen, at_edge = {}, {}
    for label in dict.fromkeys(row["objective"] for row in rows):
        means = {trial: mean for trial, mean in means_of(rows, label, ranges).items() if mean is not None}
        if not means:
            cells = [row["cell"] for row in rows if row["objective"] == label and row["value"] is None]
            raise BenchError(
                f"tuning: every trial of the objective {shorten(label)} has a failed cell, e.g. {cells[0]}: see its "
                "log, and start again with --retry-failed"
            )
        best = max(means, key=lambda trial: (means[trial], -trial))
        options = next(row["options"] for row in rows if (row["objective"], row["trial"]) == (label, best))
        chosen[label] = dict(options)
        at_edge[label] = [key for key, value in options.items() if _is_edge(value, values[key])]
    return {"chosen": chosen, "at_edge": at_edge}


def means_of(rows: Sequence[Row], objective: str, ranges: Mapping[str, Sequence[float]]) -> dict[int, float | None]:
    """The value of each trial of an objective: the mean over its cells of the metric, 0 to 1 by the range of scores.

    None for a trial with a cell that has no value.
    """
    found: dict[int, list[float | None]] = {}
    for row in rows:
        if row["objective"] == objective:
            low, high = ranges[row["environment"]]
            value = row["value"]
            found.setdefault(row["trial"], []).append(None if value is None else (value - low) / (high - low))
    return {
        trial: None if None in values else sum(v for v in values if v is not None) / len(values)
        for trial, values in found.items()
    }


def refuse_shared(tuning: Tuning) -> None:
    """Refuse to tune what all objectives must have in common.

    Raises:
        ConfigError: naming the key.
    """
    for key in tuning.values:
        table, _, option = key.partition(".")
        if table == "trainer" and option.partition(".")[0] in (*SHARED_OF_TRAINER, *UPDATES):
            raise ConfigError(f"tuning.values: {key} is the same for all objectives, so it cannot be chosen for each")


def check_trials(matrix: Matrix) -> None:
    """Refuse trials whose configuration is wrong, before any of them runs.

    Raises:
        ConfigError: naming the cell and the option.
    """
    assert matrix.tuning is not None
    one = matrix.model_copy(update={"environments": matrix.environments[:1], "models": matrix.all_models[:1]})
    for options in islice(combinations(matrix.tuning.values), CHECKED):
        chosen = {entry.label: options for entry in matrix.objectives}
        expand(one.narrowed(), chosen=chosen, kind="tuning", seeds=matrix.tuning.seeds[:1], suffix="trial")


def choice_in(folder: Path) -> dict[str, Chosen] | None:
    """What a folder's ``tuning.json`` says was chosen; None without it, or if it is damaged.

    Raises:
        TrainerError: the file is no JSON.
    """
    chosen = RunFolder(folder).read_json(TUNING).get("chosen")
    is_choice = isinstance(chosen, dict) and all(isinstance(options, dict) for options in chosen.values())
    return chosen if is_choice else None


def score_ranges(cells: Sequence[Cell]) -> dict[str, tuple[float, float]]:
    """The lowest and highest score of each environment; its validation split is checked on the way.

    Args:
        cells: of the kind ``tuning``.

    Raises:
        BenchError: the environment has no held-out tasks beyond those of the table, or holds one of them twice.
        EnvError, PluginError: the environment cannot be built.
    """
    ranges: dict[str, tuple[float, float]] = {}
    for cell in cells:
        if cell.environment not in ranges:
            ranges[cell.environment] = _checked_range(cell.environment, cell.config)
    return ranges


def _checked_range(label: str, config: RunConfig) -> tuple[float, float]:
    assert config.env is not None
    options: Any = config.trainer.checked_options
    skip, count = options.evaluate_skip, options.evaluate_tasks
    env = config.env.build()
    try:
        heldout = [task.hash for task in env.task_list("heldout")]
        score_range = score_range_of(env)
    finally:
        close_plugin(env)
    table, validation = heldout[:skip], heldout[skip : skip + count]
    if not validation:
        raise BenchError(
            f"environment {shorten(label)} has {len(heldout)} held-out tasks and the table evaluates {skip}, so that "
            "none is left to tune on: lower trainer.evaluate_tasks, or raise its number of held-out tasks"
        )
    if set(table) & set(validation):
        raise BenchError(
            f"environment {shorten(label)} holds the same task among the first {skip} held-out tasks, which the table "
            f"uses, and among the next {count}, which the tuning uses: remove the repetition"
        )
    return score_range


def _value(folder: Path, cell: Cell, metric: str) -> float | None:
    """The last value of the metric; None for a cell that failed.

    Raises:
        ConfigError: the run has no such metric.
    """
    record = read_record(folder / cell.folder)
    if record is None or record.final is None:
        return None
    if metric not in record.final:
        known = ", ".join(sorted(record.final))
        raise ConfigError(f"tuning.metric: the evaluations of {cell.id} have no {shorten(metric)}; they have {known}")
    return record.final[metric]


def _is_edge(value: Any, values: Sequence[Any]) -> bool:
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return len(numbers) == len(values) > 1 and value in (min(numbers), max(numbers))
