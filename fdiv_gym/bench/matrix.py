"""The matrix of a comparison: objectives x environments x models x seeds, with one budget, from a TOML file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from fdiv_gym.bench.labels import Label, slug
from fdiv_gym.errors import ConfigError, did_you_mean
from fdiv_gym.registry.messages import shorten
from fdiv_gym.registry.options import Options, build_options
from fdiv_gym.runs.config import apply_overrides

Table = dict[str, Any]
Value = pydantic.StrictBool | pydantic.StrictInt | pydantic.StrictFloat | pydantic.StrictStr
Seed = Annotated[int, pydantic.Field(strict=True, ge=0, lt=2**32)]
Count = Annotated[int, pydantic.Field(strict=True, ge=1)]

BASE = ("engine", "model", "trainer", "preferences", "callbacks", "tracker")
"""The tables of a run file that ``[base]`` may have."""
TUNED = ("trainer", "objective")
"""The tables whose options may be tuned."""


class ObjectiveEntry(Options):
    """One of ``[[objectives]]``."""

    label: Label
    """Its name in every table."""
    objective: Table
    """The table ``[objective]`` of a run file: name, divergence, options."""
    preferences: Table | None = None
    """Its own preferences; by default those of the environment, else of the base, if it reads any."""
    callbacks: tuple[Table, ...] | None = None
    """Its own callbacks, in place of the base's."""
    trainer: Table = pydantic.Field(default_factory=dict)
    """Options of the trainer that belong to the method, e.g. ``dynamic_sampling``, over those of the base."""


class EnvironmentEntry(Options):
    """One of ``[[environments]]``."""

    label: Label
    """Its name in every table."""
    env: Table
    """The table ``[env]`` of a run file."""
    preferences: Table | None = None
    """Preferences of this environment, for the objectives that read any."""
    engine: Table = pydantic.Field(default_factory=dict)
    """Options over those of the base, e.g. ``max_new_tokens``."""
    trainer: Table = pydantic.Field(default_factory=dict)
    """Options over those of the base, e.g. ``evaluate_tasks``."""


class ModelEntry(Options):
    """One of ``[[models]]``."""

    label: Label
    """Its name in every table."""
    model: Table
    """The table ``[model]`` of a run file, in place of the base's."""
    trainer: Table = pydantic.Field(default_factory=dict)
    """Options over those of the base, e.g. ``precision``."""


class Updates(Options):
    """One of ``updates``: how often a rollout is used."""

    updates_per_rollout: Count = 1
    """Passes over the rows of a step."""
    minibatches: Count = 1
    """Parts of each pass, with one optimizer step each."""

    @property
    def count(self) -> int:
        """Optimizer steps of a step."""
        return self.updates_per_rollout * self.minibatches


class BudgetOfCells(Options):
    """``[budget]``: what every cell spends, exactly one of them."""

    steps: Count | None = None
    """Steps of the trainer."""
    tokens: Count | None = None
    """Tokens sampled for training; ``trainer.steps`` of the base must be more than they allow."""
    verifications: Count | None = None
    """Responses drawn and scored for training; likewise."""
    seconds: Annotated[float, pydantic.Field(gt=0)] | None = None
    """Seconds of the run's clock; likewise. Cells that run at the same time slow each other down."""

    @property
    def kind(self) -> str:
        """The name of the quantity."""
        return next(name for name, value in self if value is not None)

    @property
    def limit(self) -> float:
        """Its amount."""
        return float(getattr(self, self.kind))

    @pydantic.model_validator(mode="after")
    def _is_one(self) -> BudgetOfCells:
        given = [name for name, value in self if value is not None]
        if len(given) != 1:
            names = ", ".join(type(self).model_fields)
            raise ValueError(f"[budget] needs exactly one of {names}, got {' and '.join(given) or 'none'}")
        return self


class Tuning(Options):
    """``[tuning]``: options chosen for each objective, with the same number of trials for all of them."""

    seeds: tuple[Seed, ...] = pydantic.Field(min_length=1)
    """Seeds of the trials; none may be a seed of the table."""
    values: dict[str, tuple[Value, ...]] = pydantic.Field(min_length=1)
    """The values to choose from, by dotted key, e.g. ``"trainer.learning_rate" = [1e-4, 3e-4]``."""
    metric: str = pydantic.Field("score/sampled", min_length=1)
    """The metric of ``evaluations.jsonl`` whose last value decides; the largest is best."""
    split: Literal["validation"] = "validation"
    """The tasks that decide: the ``trainer.evaluate_tasks`` held-out tasks that follow those of the table."""
    method: Literal["grid", "optuna"] = "grid"
    """``grid``: every combination of the values; ``optuna``: ``trials`` of them."""
    trials: Count | None = None
    """Combinations tried for each objective; of a grid, all of them."""

    @property
    def trials_of_each(self) -> int:
        """Combinations tried for each objective."""
        return self.trials or math.prod(len(values) for values in self.values.values())

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Tuning:
        _refuse_repeated("tuning.seeds", self.seeds)
        for key, values in self.values.items():
            table, dot, option = key.partition(".")
            if table not in TUNED or not dot or not all(option.split(".")):
                raise ValueError(
                    f"tuning.values: {shorten(key)} is no option of {' or '.join(TUNED)}, e.g. trainer.learning_rate"
                )
            if not values:
                raise ValueError(f"tuning.values: {key} has no values")
            _refuse_repeated(f"tuning.values: {key}", values)
        combinations = math.prod(len(values) for values in self.values.values())
        if self.method == "optuna" and self.trials is None:
            raise ValueError('method = "optuna" needs trials, the number of combinations tried for each objective')
        if self.method == "grid" and self.trials not in (None, combinations):
            raise ValueError(f"the grid has {combinations} combinations, not trials = {self.trials}: remove trials")
        if self.trials is not None and self.trials > combinations:
            raise ValueError(f"there are {combinations} combinations, fewer than trials = {self.trials}")
        return self


class ControlSwitches(Options):
    """``[controls]``: what is measured beside the table."""

    untrained: bool = True
    """The untrained model: a sweep of temperatures, majority vote and pass@k."""
    random_reward: bool = True
    """Training on a reward that is drawn."""
    noise_floor: bool = True
    """One objective twice, with the same seeds."""
    updates: bool = True
    """One objective with four optimizer steps of a rollout where the table takes one, and with one where it takes
    more; not where the matrix has several ``updates`` itself."""
    drift: bool = True
    """The distance from the reference at equal reward."""
    sharpening: bool = True
    """pass@k and entropy after training."""
    length: bool = True
    """The length of the responses."""
    seeds: tuple[Seed, ...] | None = pydantic.Field(None, min_length=1)
    """Seeds of the control runs, out of those of the table; by default its first."""
    objective: Label | None = None
    """The objective of the control runs; by default the first that reads rollouts."""
    temperatures: tuple[Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)], ...] = (0.3, 0.6, 1.0)
    """Temperatures at which the untrained model is evaluated, beside the greedy evaluation."""
    samples: Count = 16
    """Responses of the untrained model to each task, at each temperature."""


class RunLimits(Options):
    """``[run]``: where the cells run and what they may use. It has no part in the keys of the cells."""

    executor: Literal["local", "ray"] = "local"
    """``local``: processes of this machine; ``ray``: one Ray task a cell, on any number of machines."""
    processes: Count | None = None
    """``local``: cells at a time; by default one a core."""
    cores: Count | None = None
    """``local``: cores to use; by default all that this process may use."""
    address: str | None = pydantic.Field(None, min_length=1)
    """``ray``: the cluster, ``host:port``, or ``auto`` for the one that runs on this machine; by default one is started
    here and ended with the bench."""
    cpus: Annotated[float, pydantic.Field(gt=0)] | None = None
    """``ray``: cores that a cell takes; by default 1."""
    gpus: Annotated[float, pydantic.Field(ge=0)] | None = None
    """``ray``: GPUs that a cell takes, also a part of one; by default 0."""
    memory_gb: Annotated[float, pydantic.Field(gt=0)] | None = None
    """Gigabytes of resident memory above which a cell is ended, as a failure; ``ray`` places it by them too."""

    @pydantic.model_validator(mode="after")
    def _fits(self) -> RunLimits:
        for name, executor in _EXECUTORS.items():
            if executor != self.executor and getattr(self, name) is not None:
                raise ValueError(f'run.{name} is read with executor = "{executor}" only: remove it')
        return self


_EXECUTORS = {"processes": "local", "cores": "local", "address": "ray", "cpus": "ray", "gpus": "ray"}


class Matrix(Options):
    """A comparison; see ``load_matrix``."""

    name: Label
    """Its name, in the report."""
    base: Table = pydantic.Field(default_factory=dict)
    """Tables of a run file that all cells share: engine, model, trainer, preferences, callbacks, tracker."""
    objectives: tuple[ObjectiveEntry, ...] = pydantic.Field(min_length=1)
    """What is compared."""
    environments: tuple[EnvironmentEntry, ...] = pydantic.Field(min_length=1)
    """Where it is compared."""
    models: tuple[ModelEntry, ...] | None = pydantic.Field(None, min_length=1)
    """The initial models; by default that of the base."""
    seeds: tuple[Seed, ...] = pydantic.Field(min_length=1)
    """Seeds of the table."""
    updates: tuple[Updates, ...] | None = pydantic.Field(None, min_length=1)
    """Ways to use a rollout; by default that of the base, with no part in the ids."""
    budget: BudgetOfCells
    """What every cell spends."""
    tuning: Tuning | None = None
    """How options are chosen for each objective; by default they are not."""
    controls: ControlSwitches = ControlSwitches()
    """What is measured beside the table."""
    run: RunLimits = RunLimits()
    """Where the cells run; not part of what is compared."""

    @property
    def all_models(self) -> tuple[ModelEntry, ...]:
        """The models, also where the base has the only one."""
        if self.models is not None:
            return self.models
        model = dict(self.base.get("model", {}))
        name = str(model.get("name_or_path", "embedded")).rstrip("/").rpartition("/")[2]
        return (ModelEntry(label=name if slug(name) and len(name) <= 60 else "model", model=model),)

    def narrowed(self, objective: ObjectiveEntry | None = None) -> Matrix:
        """The matrix with the first way to use a rollout only, and one objective if it is given."""
        return self.model_copy(
            update={
                "updates": None if self.updates is None else self.updates[:1],
                "objectives": self.objectives if objective is None else (objective,),
            }
        )

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Matrix:
        for axis in ("objectives", "environments", "models"):
            _refuse_same_folder(axis, [entry.label for entry in getattr(self, axis) or ()])
        _refuse_repeated("seeds", self.seeds)
        _refuse_repeated("updates: optimizer steps of a rollout", [each.count for each in self.updates or ()])
        shared = set(self.seeds) & set(self.tuning.seeds if self.tuning else ())
        if shared:
            raise ValueError(
                f"tuning.seeds: {', '.join(map(str, sorted(shared)))} are seeds of the table too: what is tuned on "
                "them is not measured on them"
            )
        self._check_controls()
        self._check_tables()
        return self

    def _check_controls(self) -> None:
        strange = [seed for seed in self.controls.seeds or () if seed not in self.seeds]
        if strange:
            raise ValueError(
                f"controls.seeds: {strange[0]} is no seed of the table, so there is nothing to compare with"
            )
        _refuse_repeated("controls.seeds", self.controls.seeds or ())
        _refuse_repeated("controls.temperatures", self.controls.temperatures)
        labels = [entry.label for entry in self.objectives]
        if self.controls.objective not in (None, *labels):
            hint = did_you_mean(str(self.controls.objective), labels)
            raise ValueError(f"controls.objective: {shorten(self.controls.objective)} is no objective ({hint})")

    def _check_tables(self) -> None:
        for key, value in self.base.items():
            if key not in BASE:
                where = {"env": "[[environments]]", "objective": "[[objectives]]", "seed": "seeds"}.get(key)
                hint = f"it belongs to {where}" if where else did_you_mean(key, BASE)
                raise ValueError(f"base: unknown table {shorten(key)} ({hint})")
            if key != "callbacks" and not isinstance(value, Mapping):
                raise ValueError(f"base.{key} must be a table, got {shorten(value)}")
        if self.models is not None and "model" in self.base:
            raise ValueError("base.model is read only without [[models]]: remove one of them")
        given = [("base", self.base.get("trainer", {})), *self._trainers()]
        elsewhere = {"budget": "[budget]", "reward": "[controls]", "evaluate_skip": "[tuning]"}
        if self.budget.kind == "steps":
            elsewhere["steps"] = "[budget]"
        if self.updates is not None:
            elsewhere |= {"updates_per_rollout": "updates", "minibatches": "updates"}
        for where, trainer in given:
            for name in elsewhere.keys() & trainer.keys():
                raise ValueError(f"{where}.trainer.{name}: {elsewhere[name]} decides it for all cells, remove it here")

    def _trainers(self) -> list[tuple[str, Table]]:
        entries: list[ObjectiveEntry | EnvironmentEntry | ModelEntry]
        entries = [*self.objectives, *self.environments, *(self.models or ())]
        return [(shorten(entry.label), entry.trainer) for entry in entries]


def load_matrix(path: str | Path) -> Matrix:
    """Read the TOML file of a matrix.

    Raises:
        ConfigError: no such file, not TOML, or something in it is wrong; see ``parse_matrix``.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no matrix {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    return parse_matrix(apply_overrides(values, ()), str(path))


def parse_matrix(values: Mapping[str, Any], where: str = "matrix") -> Matrix:
    """Validate a matrix given as nested dictionaries.

    Args:
        values: nested as in the file.
        where: begins the message of an error.

    Raises:
        ConfigError: an unknown key (with the closest known one), a repeated or unusable label, an empty list, a seed of
            the tuning in the table, or not exactly one budget. What is in the tables of a run file is checked by
            ``expand``.
    """
    return build_options(Matrix, values, where)


def _refuse_repeated(where: str, values: Sequence[object]) -> None:
    for place, value in enumerate(values):
        if any(value == other and type(value) is type(other) for other in values[:place]):
            raise ValueError(f"{where}: {value!r} is given twice")


def _refuse_same_folder(axis: str, labels: Sequence[str]) -> None:
    """Refuse two labels that become one name of a folder: equal ones, or those that differ in case or signs."""
    seen: dict[str, str] = {}
    for label in labels:
        if slug(label) in seen:
            raise ValueError(
                f"{axis}: the labels {shorten(seen[slug(label)])} and {shorten(label)} have the same letters and "
                f"digits, so that both would be {slug(label)!r} in the names of folders: rename one of them"
            )
        seen[slug(label)] = label
