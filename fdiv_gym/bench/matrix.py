"""The matrix of a comparison: objectives x environments x models x seeds, with one budget, from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from fdiv_gym.bench.labels import Label, slug
from fdiv_gym.bench.matrix_tables import (
    BudgetOfCells,
    ControlSwitches,
    EnvironmentEntry,
    ModelEntry,
    ObjectiveEntry,
    RunLimits,
    Seed,
    Table,
    Tuning,
    Updates,
    refuse_repeated,
)
from fdiv_gym.errors import ConfigError, did_you_mean
from fdiv_gym.registry.messages import shorten
from fdiv_gym.registry.options import Options, build_options
from fdiv_gym.runs.config import apply_overrides

BASE = ("engine", "model", "trainer", "preferences", "callbacks", "tracker")
"""The tables of a run file that ``[base]`` may have."""


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
        refuse_repeated("seeds", self.seeds)
        refuse_repeated("updates: optimizer steps of a rollout", [each.count for each in self.updates or ()])
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
        refuse_repeated("controls.seeds", self.controls.seeds or ())
        refuse_repeated("controls.temperatures", self.controls.temperatures)
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
