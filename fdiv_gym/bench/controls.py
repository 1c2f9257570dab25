"""Controls: runs and evaluations beside the table, with which its numbers are to be compared.

- ``random-reward``: the same run, trained on a drawn reward and evaluated with the true one.
- ``again``: a cell of the table a second time, with the same configuration and seed.
- ``other-updates``: a cell of the table with four optimizer steps of a rollout instead of one, or one instead of more.
- ``untrained``: the model before any training, greedy and at several temperatures, with a majority vote.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from fdiv_gym.bench.cells import FOLDERS, UPDATES, Cell, expand
from fdiv_gym.bench.labels import slug
from fdiv_gym.bench.matrix import Matrix
from fdiv_gym.bench.matrix_tables import ObjectiveEntry
from fdiv_gym.bench.process import RUN
from fdiv_gym.bench.record import read_record
from fdiv_gym.bench.search import Chosen
from fdiv_gym.errors import ConfigError
from fdiv_gym.evaluation import Plan, Sweep, configure, evaluate_temperatures
from fdiv_gym.evaluation.metrics import default_ks
from fdiv_gym.registry.reference import PluginRef
from fdiv_gym.runs.config import possible_streams
from fdiv_gym.runs.folder import RunFolder

RANDOM_REWARD, AGAIN, OTHER_UPDATES, UNTRAINED = "random-reward", "again", "other-updates", "untrained"
SEVERAL = 4
"""Optimizer steps of a rollout, where the table takes one."""
UNTRAINED_FILE = "untrained.json"

Say = Callable[[str], None]


def control_cells(matrix: Matrix, chosen: Mapping[str, Chosen]) -> list[Cell]:
    """The control runs: of one objective, on every environment and model, with the first way of ``updates``.

    Args:
        matrix: the matrix.
        chosen: by the tuning, for the label of each objective.

    Raises:
        ConfigError: a random reward is asked for, and no objective reads rollouts.
    """
    switches, cells = matrix.controls, list[Cell]()
    if not (switches.random_reward or switches.noise_floor or switches.updates):
        return cells
    entry = control_objective(matrix)
    narrow, options = matrix.narrowed(entry), chosen.get(entry.label, {})
    changes: dict[str, Chosen] = {}
    if switches.random_reward:
        changes[RANDOM_REWARD] = {"trainer.reward": "drawn"}
    if switches.noise_floor:
        changes[AGAIN] = {}
    if switches.updates and len(matrix.updates or ()) < 2:
        changes |= _other_updates(expand(narrow, seeds=control_seeds(matrix)[:1])[0])
    for suffix, change in changes.items():
        cells += expand(
            narrow, chosen={entry.label: {**options, **change}}, kind="control",
            seeds=control_seeds(matrix), suffix=suffix,
        )  # fmt: skip
    return cells


def _other_updates(cell: Cell) -> dict[str, Chosen]:
    """The options of the control, by its suffix; none for a trainer without them."""
    if not set(UPDATES) <= type(cell.config.trainer.checked_options).model_fields.keys():
        return {}
    count = SEVERAL if cell.updates == 1 else 1
    return {OTHER_UPDATES: {"trainer.updates_per_rollout": 1, "trainer.minibatches": count}}


def control_seeds(matrix: Matrix) -> tuple[int, ...]:
    """The seeds of the control runs."""
    return matrix.controls.seeds or matrix.seeds[:1]


def control_objective(matrix: Matrix) -> ObjectiveEntry:
    """The objective of the control runs.

    Raises:
        ConfigError: it must read rollouts for a random reward, and does not.
    """
    label = matrix.controls.objective
    entries = [entry for entry in matrix.objectives if label in (None, entry.label)]
    readers = [entry for entry in entries if _reads_rollouts(entry)]
    if matrix.controls.random_reward and not readers:
        what = "no objective" if label is None else f"not the objective {label!r}"
        raise ConfigError(
            f"controls.random_reward: {what} reads rollouts, and only they have a reward: set it to false, or name "
            "another controls.objective"
        )
    return (readers or entries)[0]


def _reads_rollouts(entry: ObjectiveEntry) -> bool:
    reference: PluginRef[Any] = PluginRef.of("objective", {"name": "f-grpo", **entry.objective}, "[objective]")
    return "rollouts" in possible_streams(reference.build())


# ---- the untrained model ---------------------------------------------------------------------------


def untrained_folders(matrix: Matrix) -> dict[tuple[str, str], str]:
    """The folder, in that of the bench, of each environment and model."""
    pairs = product(matrix.environments, matrix.all_models)
    names = {(env.label, model.label): f"{UNTRAINED}--{slug(env.label)}--{slug(model.label)}" for env, model in pairs}
    return {labels: f"{FOLDERS['control']}/{name}" for labels, name in names.items()}


def measure_untrained(
    matrix: Matrix, cells: Sequence[Cell], folder: Path, *, rerun: bool = False, say: Say = lambda text: None
) -> tuple[str, ...]:
    """Evaluate the initial model of the table's cells on the table's tasks, and write ``untrained.json`` for each.

    What is there and still fits is kept; an interrupted evaluation goes on.

    Args:
        matrix: the matrix.
        cells: of the table; a finished run of theirs tells the initial model and its settings.
        folder: of the bench.
        rerun: evaluate again what is of another model or other settings.
        say: takes a line about each evaluation.

    Returns:
        The folders that lack a result, because no cell of the environment and model is done.

    Raises:
        ConfigError: a folder holds another evaluation, and not ``rerun``.
        TrainerError: the initial model cannot be built again.
    """
    missing = []
    for (environment, model), name in untrained_folders(matrix).items():
        own = [cell for cell in cells if (cell.environment, cell.model) == (environment, model)]
        cell = next(_done(own, folder, control_seeds(matrix)[0]), None)
        if cell is None:
            missing.append(name)
            say(f"the untrained model on {environment} is not evaluated: no cell of {environment} and {model} is done")
            continue
        _measure(matrix, cell, folder, folder / name, rerun=rerun, say=say)
    return tuple(missing)


def _done(cells: Sequence[Cell], folder: Path, seed: int) -> Iterator[Cell]:
    """The finished ones, those with the seed first."""
    for cell in sorted(cells, key=lambda cell: cell.seed != seed):
        record = read_record(folder / cell.folder)
        if record is not None and record.status == "done":
            yield cell


def _measure(matrix: Matrix, cell: Cell, folder: Path, place: Path, *, rerun: bool, say: Say) -> None:
    sweep = _sweep(matrix, cell, folder / cell.folder / RUN)
    key = sweep.fingerprint()
    known = RunFolder(place).read_json(UNTRAINED_FILE)
    if known.get("key") == key:
        return
    if known:
        if not rerun:
            raise ConfigError(
                f"{place} holds the evaluation of another model, or with other settings or plugins: choose another "
                "folder, or replace it with --rerun"
            )
        with RunFolder(place).writing("the evaluation"):
            shutil.rmtree(place)
    say(f"evaluating the untrained model on {cell.environment}")
    results = evaluate_temperatures(sweep, place, default_ks(matrix.controls.samples)).results
    found = {"key": key, "environment": cell.environment, "model": cell.model, **untrained_of(results)}
    RunFolder(place).write_json(UNTRAINED_FILE, json.loads(json.dumps(found)))


def _sweep(matrix: Matrix, cell: Cell, run: Path) -> Sweep:
    tasks = getattr(cell.config.trainer.checked_options, "evaluate_tasks", None)

    def plan(temperature: float | None) -> Plan:
        overrides = [] if temperature is None else [f"engine.temperature={temperature!r}"]
        # The run is the user's own, so what it names is trusted.
        config, trained_on = configure(
            str(run), overrides=overrides, step=0, trust_endpoints=True, trust_remote_code=True
        )
        samples = 1 if temperature is None else matrix.controls.samples
        seed = control_seeds(matrix)[0]
        return Plan(config, "heldout", tasks, samples, temperature is None, seed, trained_on=trained_on)

    return Sweep.of(matrix.controls.temperatures, plan(None), plan)


def untrained_of(results: Mapping[str, Any]) -> dict[str, Any]:
    """The rows and the best of ``untrained.json``, from the ``results.json`` of a sweep of temperatures."""

    def name(temperature: float) -> float | str:
        return temperature or "greedy"

    rows = [
        {
            "temperature": name(row["temperature"]),
            "metrics": {
                metric: {end: values[end] for end in ("value", "low", "high")}
                for metric, values in row["metrics"].items()
            },
        }
        for row in results["evaluations"]
    ]
    best = {
        kind: {"temperature": name(results["best"][kind]["temperature"]), "value": results["best"][kind]["value"]}
        for kind in ("single", "majority")
        if kind in results["best"]
    }
    return {"rows": rows, "best": best}
