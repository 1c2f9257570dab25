"""The cells of a matrix: each one a plain run, resolved by the parser of ``fdiv-gym train``.

What is equal for all cells of one environment and model, whatever their objective and seed:

- the warm start: the embedded model's seed is ``model.embedded.seed``, never the run's;
- the evaluation: the tasks are the first ``trainer.evaluate_tasks`` held-out ones of the environment, whose options are
  equal, with equal numbers of samples and equal options of the engine. Cells of the tuning are evaluated on the next
  ones.

Prompts are paired between the objectives of one seed: the tasks of a step depend on the seed and on how many were
drawn before, so equal ``prompts_per_step`` gives equal prompts at every step. Two things break this pairing: an
objective with ``dynamic_sampling`` draws further tasks, and a curriculum chooses tasks by the policy's results. The
random numbers of sampling and of evaluations depend on the seed and the step, not on the objective.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

from fdiv_gym.bench.labels import slug
from fdiv_gym.bench.matrix import Matrix
from fdiv_gym.bench.matrix_tables import EnvironmentEntry, ModelEntry, ObjectiveEntry, Updates
from fdiv_gym.errors import ConfigError, FdivGymError
from fdiv_gym.registry.messages import shorten
from fdiv_gym.registry.reference import PluginRef
from fdiv_gym.runs.config import RunConfig, parse_config, possible_streams
from fdiv_gym.runs.provenance import entries_in_use, plugins_in_use

Kind = Literal["table", "tuning", "control"]

FOLDERS: Mapping[Kind, str] = {"table": "cells", "tuning": "tuning", "control": "controls"}
"""The folder, in that of the bench, that holds the cells of a kind."""

SHARED = ("env", "model", "engine")
"""Tables that all cells of one environment and model must have in common."""
SHARED_OF_TRAINER = (
    "name",
    "steps",
    "budget",
    "prompts_per_step",
    "group_size",
    "precision",
    "schedule",
    "warmup_steps",
    "evaluate_every",
    "evaluate_tasks",
    "evaluate_skip",
    "evaluate_samples",
    "reward",
)
"""Options of the trainer that all cells of one environment and model must have in common."""
UPDATES = ("updates_per_rollout", "minibatches")


@dataclass(frozen=True)
class Cell:
    """One run of a matrix.

    Args:
        id: readable and unique among the cells of its kind; the name of its folder.
        kind: whether it counts in the table, chose an option, or is a control.
        objective: label.
        environment: label.
        model: label.
        seed: of the run.
        updates: optimizer steps of a step.
        values: its configuration, nested as in a run file.
        config: the same, parsed.
        key: SHA-256 of the resolved configuration and the hashes of its plugins.
    """

    id: str
    kind: Kind
    objective: str
    environment: str
    model: str
    seed: int
    updates: int
    values: Mapping[str, Any] = field(repr=False, compare=False)
    config: RunConfig = field(repr=False, compare=False)
    key: str

    @property
    def folder(self) -> str:
        """Its folder, relative to that of the bench."""
        return f"{FOLDERS[self.kind]}/{self.id}"

    @property
    def rate(self) -> float | None:
        """Its learning rate, if its trainer has one."""
        rate = getattr(self.config.trainer.checked_options, "learning_rate", None)
        return None if rate is None else float(rate)


def expand(
    matrix: Matrix,
    *,
    chosen: Mapping[str, Mapping[str, Any]] | None = None,
    kind: Kind = "table",
    seeds: Sequence[int] | None = None,
    suffix: str = "",
) -> list[Cell]:
    """The cells of a matrix: objective by objective, then environments, models, updates and seeds, in the file's order.

    Args:
        matrix: the matrix.
        chosen: options by dotted key, for the label of an objective: what tuning has chosen, or a trial tries.
        kind: of the cells; those of the kind ``tuning`` are evaluated on the validation split, the second block of
            ``trainer.evaluate_tasks`` held-out tasks, of which the table uses the first.
        seeds: other seeds than those of the table, e.g. of the tuning.
        suffix: ends every id, e.g. ``trial3``.

    Raises:
        ConfigError: the configuration of a cell is wrong, or cells of one environment and model would not be on equal
            terms; the message begins with the id.
        PluginError: a plugin of a cell is missing or broken.
    """
    unknown = [label for label in chosen or {} if label not in {entry.label for entry in matrix.objectives}]
    if unknown:
        raise ConfigError(f"options were chosen for {shorten(unknown[0])}, which is no objective of the matrix")
    hashes = _Hashes()
    cells = []
    for objective, environment, model, updates, seed in product(
        matrix.objectives, matrix.environments, matrix.all_models, matrix.updates or (None,), seeds or matrix.seeds
    ):
        count_of = updates.count if updates else None
        name = id_of(objective.label, environment.label, model.label, seed, count_of, suffix)
        try:
            values = _values(matrix, objective, environment, model, updates, seed)
            _set(values, (chosen or {}).get(objective.label, {}))
            config = parse_config(values)
            if kind == "tuning":
                _set(values, {"trainer.evaluate_skip": _evaluated_tasks(config)})
                config = parse_config(values)
            key = hashes.key(config)
        except FdivGymError as error:
            raise type(error)(f"cell {name}: {error}") from None
        options = config.trainer.checked_options
        count = getattr(options, "updates_per_rollout", 1) * getattr(options, "minibatches", 1)
        cell = Cell(
            name, kind, objective.label, environment.label, model.label, seed, count, values, config, key,
        )  # fmt: skip
        cells.append(cell)
    refuse_unequal_terms(cells, several_updates=matrix.updates is not None)
    return cells


def id_of(objective: str, environment: str, model: str, seed: int, updates: int | None = None, suffix: str = "") -> str:
    """The id of a cell, from its labels; ``updates`` is None where the matrix has no ``updates``."""
    ends = [f"seed{seed}", *([f"updates{updates}"] if updates else []), *([suffix] if suffix else [])]
    return "--".join([*(slug(label) for label in (objective, environment, model)), *ends])


def refuse_unequal_terms(cells: Sequence[Cell], *, several_updates: bool = False) -> None:
    """Refuse cells of one environment and model that differ in model, warm start, budget, batches or evaluation.

    Args:
        cells: of one matrix.
        several_updates: whether the matrix has ``updates``; then only cells with the same ones share them.

    Raises:
        ConfigError: naming the option and both cells.
    """
    first: dict[tuple[object, ...], tuple[str, dict[str, Any]]] = {}
    for cell in cells:
        resolved = cell.config.resolved()
        trainer = resolved["trainer"]
        terms = {table: resolved.get(table) for table in SHARED}
        terms |= {f"trainer.{name}": trainer.get(name) for name in SHARED_OF_TRAINER}
        groups: list[tuple[tuple[object, ...], dict[str, Any]]] = [
            ((cell.environment, cell.model), terms),
            (
                (cell.environment, cell.model, "updates", cell.updates if several_updates else None),
                {f"trainer.{name}": trainer.get(name) for name in UPDATES},
            ),
        ]
        for group, found in groups:
            other, expected = first.setdefault(group, (cell.id, found))
            for name, value in found.items():
                if value != expected[name]:
                    raise ConfigError(
                        f"cell {cell.id}: {name} = {shorten(value)}, and {shorten(expected[name])} in cell {other}: "
                        "all cells of one environment and model share it; set it in the base or the environment"
                    )


def _values(
    matrix: Matrix,
    objective: ObjectiveEntry,
    environment: EnvironmentEntry,
    model: ModelEntry,
    updates: Updates | None,
    seed: int,
) -> dict[str, Any]:
    """The configuration of a cell, nested as in a run file."""
    base = matrix.base
    trainer = merged(base.get("trainer", {}), environment.trainer, model.trainer, objective.trainer)
    if updates is not None:
        trainer |= {"updates_per_rollout": updates.updates_per_rollout, "minibatches": updates.minibatches}
    kind, limit = matrix.budget.kind, getattr(matrix.budget, matrix.budget.kind)
    trainer |= {"steps": limit} if kind == "steps" else {"budget": {kind: limit}}
    values: dict[str, Any] = {
        "seed": seed,
        "env": merged(environment.env),
        "model": merged(model.model),
        "engine": merged(base.get("engine", {}), environment.engine),
        "objective": merged(objective.objective),
        "trainer": trainer,
    }
    callbacks = base.get("callbacks", []) if objective.callbacks is None else objective.callbacks
    if not isinstance(callbacks, (list, tuple)):
        raise ConfigError(f"base.callbacks must be a list of tables, got {shorten(callbacks)}")
    if callbacks:
        values["callbacks"] = [merged(table) if isinstance(table, Mapping) else table for table in callbacks]
    if "tracker" in base:
        values["tracker"] = merged(base["tracker"])
    if objective.preferences is not None:
        values["preferences"] = merged(objective.preferences)
    elif _reads_preferences(objective.objective):
        preferences = environment.preferences if environment.preferences is not None else base.get("preferences")
        if preferences is None:
            raise ConfigError(
                f"objective {shorten(objective.label)} needs preferences: add a table preferences to it, to the "
                "environment or to the base"
            )
        values["preferences"] = merged(preferences)
    return values


def _reads_preferences(table: Mapping[str, Any]) -> bool:
    """Whether the objective may read preferences; an unfinished table is for ``parse_config`` to refuse."""
    try:
        reference: PluginRef[Any] = PluginRef.of("objective", {"name": "f-grpo", **table}, "[objective]")
    except FdivGymError:
        return False
    return "preferences" in possible_streams(reference.build())


def _evaluated_tasks(config: RunConfig) -> int:
    """The number of tasks that the table evaluates.

    Raises:
        ConfigError: the trainer has no validation split.
    """
    options = config.trainer.checked_options
    if not {"evaluate_tasks", "evaluate_skip"} <= type(options).model_fields.keys():
        raise ConfigError(
            f"[tuning] needs the options evaluate_tasks and evaluate_skip, and trainer {config.trainer.name!r} has not "
            "both of them: it cannot choose on other tasks than those of the table"
        )
    return int(options.evaluate_tasks)  # type: ignore[attr-defined]


def merged(*tables: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested tables; what a later one has replaces what earlier ones have."""
    result: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            before = result.get(key)
            if isinstance(value, Mapping):
                result[key] = merged(before if isinstance(before, Mapping) else {}, value)
            else:
                result[key] = list(value) if isinstance(value, (list, tuple)) else value
    return result


def _set(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Set options by their dotted keys, in place."""
    for key, value in changes.items():
        *path, last = key.split(".")
        table = values
        for name in path:
            inner = table.get(name, {})
            if isinstance(inner, str):  # a plugin given by its name alone
                inner = {"name": inner}
            if not isinstance(inner, dict):
                raise ConfigError(f"{key}: {name} holds a value, not a table")
            table[name] = inner
            table = inner
        table[last] = value


class _Hashes:
    """Keys of configurations; the sources of equal plugins are read once."""

    def __init__(self) -> None:
        self._plugins: dict[frozenset[tuple[str, str]], dict[str, dict[str, Any]]] = {}

    def key(self, config: RunConfig) -> str:
        entries = entries_in_use(config)
        names = frozenset((entry.kind, entry.name) for entry in entries)
        if names not in self._plugins:
            self._plugins[names] = plugins_in_use(entries)
        return key_of(config.resolved(), self._plugins[names])


def key_of(resolved: Mapping[str, Any], plugins: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 (64 hex digits) of a resolved configuration and of the version and source hash of each plugin.

    Args:
        resolved: ``RunConfig.resolved``, or ``config.json`` of a run folder.
        plugins: as in ``provenance.json``.
    """
    sources = {name: [plugin["version"], plugin["source"]] for name, plugin in plugins.items()}
    content = json.dumps({"config": resolved, "plugins": sources}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
