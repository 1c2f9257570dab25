"""Plain run folders as the cells of a comparison: ``fdiv-gym compare``."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdiv_gym.bench.cells import FOLDERS, id_of
from fdiv_gym.bench.labels import LONGEST, slug
from fdiv_gym.bench.matrix import Matrix, parse_matrix
from fdiv_gym.bench.record import Record
from fdiv_gym.bench.recording import measured
from fdiv_gym.errors import ConfigError
from fdiv_gym.registry.messages import printable, shorten
from fdiv_gym.registry.options import build_options
from fdiv_gym.runs.config import dotted
from fdiv_gym.runs.folder import PROVENANCE, RunFolder

Table = dict[str, Any]
EQUAL = ("steps", "budget", "prompts_per_step", "group_size", "evaluate_every", "evaluate_tasks", "evaluate_skip",
         "evaluate_samples")  # fmt: skip
"""Options of the trainer that are the budget and the evaluation: runs that differ in one are not compared."""
APART = ("seed", "env", "model", "engine", "tracker")
"""Tables that do not name a row."""
SHOWN = ("fdiv_gym", "python", "platform", "packages", "plugins")
"""What of a run's provenance the report has."""


@dataclass(frozen=True)
class Runs:
    """Runs as a comparison.

    Args:
        matrix: for ``tables_of``; only its labels, seeds, budget and environments are meant.
        records: likewise.
        folders: the run folder of each record.
        unused: run folders of seeds that not all rows have.
        provenance: JSON-ready.
    """

    matrix: Matrix
    records: Mapping[str, Record]
    folders: Mapping[str, Path]
    unused: Sequence[Path]
    provenance: Mapping[str, Any]


def read_runs(paths: Sequence[str | Path]) -> Runs:
    """Run folders, grouped into rows that differ in more than the seed.

    Rows, environments and models are named by their plugins, and by the options in which those of one name differ.

    Args:
        paths: two or more run folders.

    Raises:
        ConfigError: fewer than two runs; one twice, not finished or without an environment; two of one row with the
            same seed; runs of another budget or evaluation; or rows without a common seed.
        TrainerError: there is no run, or a file of it is damaged.
    """
    runs = [RunFolder.open_existing(path) for path in paths]
    found = [run.path.resolve() for run in runs]
    twice = [path for place, path in enumerate(found) if path in found[:place]]
    if twice:
        raise ConfigError(f"the run {twice[0]} is given twice: a comparison needs different run folders")
    if len(runs) < 2:
        raise ConfigError("a comparison needs two or more run folders; for one there is fdiv-gym report")
    configs = [_checked(run) for run in runs]
    names = {
        "objective": _labels([_rest(config) for config in configs], [_objective(c) for c in configs], "objective"),
        "environment": _labels([c["env"] for c in configs], [str(c["env"]["id"]) for c in configs], "environment"),
        "model": _labels([c["model"] for c in configs], [_model(c["model"]) for c in configs], "model"),
    }
    places = list(zip(*names.values(), strict=True))
    _refuse_other_terms(runs, configs, places)
    seeds = _seeds(runs, configs, places)
    records, folders, unused, shown = {}, {}, [], []
    for run, config, (objective, environment, model) in zip(runs, configs, places, strict=True):
        seed = config["seed"]
        if seed not in seeds:
            unused.append(run.path)
            continue
        name = f"{FOLDERS['table']}/{id_of(objective, environment, model, seed)}"
        labels = {"objective": objective, "environment": environment, "model": model, "seed": seed}
        records[name], folders[name] = _record(run, config, labels), run.path
        origin = run.read_json(PROVENANCE)
        shown.append({"run": str(run.path), **labels} | {key: origin[key] for key in SHOWN if key in origin})
    matrix = _matrix(configs, names, seeds)
    return Runs(matrix, records, folders, unused, {"runs": shown, "configuration": configs[0]})


def _checked(run: RunFolder) -> Table:
    """The resolved configuration of a run, with the types that are read here."""
    config = run.config()
    tables = {name: config.get(name) for name in ("env", "model", "engine", "objective", "trainer")}
    if tables["env"] is None:
        raise ConfigError(f"the run in {run.path} has no environment: there is no score to compare")
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise ConfigError(f"{run.path}: config.json is damaged: {name} is no table")
    if not isinstance(config["env"].get("id"), str) or type(config.get("seed")) is not int:
        raise ConfigError(f"{run.path}: config.json is damaged: it has no env.id or no seed")
    return config


def _record(run: RunFolder, config: Table, labels: Table) -> Record:
    trainer = config["trainer"]
    counts = (trainer.get("evaluate_tasks"), trainer.get("evaluate_samples"))
    key = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    passes, parts = trainer.get("updates_per_rollout", 1), trainer.get("minibatches", 1)
    updates = passes * parts if type(passes) is int and type(parts) is int else None  # refused below
    values = labels | measured(run, counts) | {"key": key, "attempts": 0, "kind": "table", "updates": updates}
    rate = trainer.get("learning_rate")
    values |= {"rate": float(rate) if isinstance(rate, int) else rate}
    return build_options(Record, values, f"the run in {run.path}")


def _rest(config: Table) -> Table:
    """What names a row: the configuration without the tables that have a label of their own and the equal terms."""
    rest = {key: value for key, value in config.items() if key not in APART}
    return rest | {"trainer": {key: value for key, value in config["trainer"].items() if key not in EQUAL}}


def _objective(config: Table) -> str:
    objective = config["objective"]
    divergence = objective.get("divergence")
    divergence = divergence.get("name") if isinstance(divergence, Mapping) else divergence
    return f"{objective.get('name')} {divergence}" if divergence else str(objective.get("name"))


def _model(model: Mapping[str, Any]) -> str:
    return str(model.get("name_or_path")).rstrip("/").rpartition("/")[2]


def _labels(tables: Sequence[Mapping[str, Any]], names: Sequence[str], kind: str) -> list[str]:
    """A label for each table: its name, with the options in which tables of one name differ; unique as a folder."""
    flat = [dotted(table) for table in tables]
    values = [json.dumps(table, sort_keys=True, default=str) for table in tables]
    label_of: dict[str, str] = {}
    taken: set[str] = set()
    for place, value in enumerate(values):
        if value in label_of:
            continue
        namesakes = [flat[i] for i, name in enumerate(names) if name == names[place]]
        keys = sorted({key for table in namesakes for key in table})
        differing = [key for key in keys if len({json.dumps(table.get(key), default=str) for table in namesakes}) > 1]
        options = [f"{key.rpartition('.')[2]}={_short(flat[place].get(key))}" for key in differing]
        label_of[value] = _unique(" ".join([names[place], *options]), taken, kind)
    return [label_of[value] for value in values]


def _short(value: Any) -> str:
    return shorten(value, 20).strip("'")


def _unique(wanted: str, taken: set[str], kind: str) -> str:
    plain = printable(" ".join(wanted.split()))
    plain = plain if slug(plain) else f"{kind} {plain}"
    plain = plain if len(plain) <= LONGEST else plain[: LONGEST - 8] + "..."
    label, number = plain, 1
    while slug(label) in taken:
        number += 1
        label = f"{plain[: LONGEST - 5]} {number}"
    taken.add(slug(label))
    return label


def _refuse_other_terms(runs: Sequence[RunFolder], configs: Sequence[Table], places: Sequence[tuple[str, ...]]) -> None:
    """Refuse runs with another budget, and those of one environment and model with another evaluation or engine."""
    first: dict[tuple[str, ...], tuple[RunFolder, Table]] = {}
    for run, config, (_, environment, model) in zip(runs, configs, places, strict=True):
        trainer = config["trainer"]
        budget = {f"trainer.{name}": trainer.get(name) for name in ("steps", "budget")}
        terms = {f"trainer.{name}": trainer.get(name) for name in EQUAL} | dotted(config["engine"], "engine.")
        for group, found in (((), budget), ((environment, model), terms)):
            other, expected = first.setdefault(group, (run, found))
            for name in sorted({*found, *expected}):
                if found.get(name) != expected.get(name):
                    raise ConfigError(
                        f"the runs in {other.path} and {run.path} are not on equal terms: {name} is "
                        f"{shorten(expected.get(name))} and {shorten(found.get(name))}"
                    )


def _seeds(runs: Sequence[RunFolder], configs: Sequence[Table], places: Sequence[tuple[str, ...]]) -> list[int]:
    """The seeds that all rows have, in rising order."""
    groups: dict[tuple[str, ...], dict[int, Path]] = defaultdict(dict)
    for run, config, place in zip(runs, configs, places, strict=True):
        seed = config["seed"]
        if seed in groups[place]:
            raise ConfigError(
                f"the runs in {groups[place][seed]} and {run.path} are the same: {place[0]} on {place[1]} with seed "
                f"{seed}; leave one out"
            )
        groups[place][seed] = run.path
    common = set.intersection(*(set(seeds) for seeds in groups.values()))
    if not common:
        listed = "; ".join(f"{place[0]} on {place[1]}: {_listed(seeds)}" for place, seeds in groups.items())
        raise ConfigError(f"no seed is common to all rows, and differences are paired by seed: {shorten(listed, 300)}")
    return sorted(common)


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _matrix(configs: Sequence[Table], names: Mapping[str, Sequence[str]], seeds: Sequence[int]) -> Matrix:
    tables = {"objective": "objectives", "environment": "environments", "model": "models"}
    keys = {"objective": "objective", "environment": "env", "model": "model"}
    values: Table = {"name": "runs", "seeds": list(seeds), "budget": _budget(configs[0]["trainer"])}
    for kind, labels in names.items():
        places = {label: place for place, label in reversed(list(enumerate(labels)))}
        first = sorted(places.items(), key=lambda item: item[1])
        values[tables[kind]] = [{"label": label, keys[kind]: dict(configs[i][keys[kind]])} for label, i in first]
    return parse_matrix(values, "the runs")


def _budget(trainer: Mapping[str, Any]) -> Table:
    budget = trainer.get("budget")
    given = {name: value for name, value in budget.items() if value is not None} if isinstance(budget, Mapping) else {}
    return given or {"steps": trainer.get("steps")}
