"""The tables of a matrix file: what is compared, what a cell spends, tuning, controls and where cells run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pydantic

from fdiv_gym.bench.labels import Label
from fdiv_gym.registry.messages import shorten
from fdiv_gym.registry.options import Options

Table = dict[str, Any]
Value = pydantic.StrictBool | pydantic.StrictInt | pydantic.StrictFloat | pydantic.StrictStr
Seed = Annotated[int, pydantic.Field(strict=True, ge=0, lt=2**32)]
Count = Annotated[int, pydantic.Field(strict=True, ge=1)]

MOST_COMBINATIONS = 10_000
"""Of the values to tune."""
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
        refuse_repeated("tuning.seeds", self.seeds)
        for key, values in self.values.items():
            table, dot, option = key.partition(".")
            if table not in TUNED or not dot or not all(option.split(".")):
                raise ValueError(
                    f"tuning.values: {shorten(key)} is no option of {' or '.join(TUNED)}, e.g. trainer.learning_rate"
                )
            if not values:
                raise ValueError(f"tuning.values: {key} has no values")
            refuse_repeated(f"tuning.values: {key}", values)
        combinations = math.prod(len(values) for values in self.values.values())
        if combinations > MOST_COMBINATIONS:
            raise ValueError(
                f"tuning.values has {combinations} combinations, more than {MOST_COMBINATIONS}: give fewer"
            )
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

    @property
    def reads_after(self) -> bool:
        """Whether the trained models are compared with the untrained one."""
        return self.drift or self.sharpening or self.length


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


def refuse_repeated(where: str, values: Sequence[object]) -> None:
    """Refuse two equal values of one type.

    Raises:
        ValueError: naming the value.
    """
    for place, value in enumerate(values):
        if any(value == other and type(value) is type(other) for other in values[:place]):
            raise ValueError(f"{where}: {value!r} is given twice")
