"""The run configuration: a TOML file, overridden by ``--set a.b=c``, resolved through the registry.

A table that names a plugin also holds that plugin's options. They are validated by the plugin's own
option model, so an unknown key of any plugin is refused before a model is loaded. Python code may pass
a class or an instance instead of a name.
"""

from __future__ import annotations

import datetime
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from fdiv_gym.data.config import PreferencesConfig
from fdiv_gym.envs.base import Environment
from fdiv_gym.errors import ConfigError, PluginError, UnknownNameError, did_you_mean
from fdiv_gym.models.config import ModelConfig
from fdiv_gym.objectives.base import Objective
from fdiv_gym.registry.guard import check_streams
from fdiv_gym.registry.messages import shorten
from fdiv_gym.registry.options import Configurable, Options, build_options
from fdiv_gym.registry.reference import PluginRef, references
from fdiv_gym.rollouts.engine import Engine
from fdiv_gym.runs.callback import Callback

#: Tables that name a plugin: the key of the name, the kind, and the default name.
PLUGIN_TABLES: dict[str, tuple[str, str, str | None]] = {
    "env": ("id", "environment", None),
    "engine": ("name", "engine", "transformers"),
    "objective": ("name", "objective", "f-grpo"),
    "trainer": ("name", "trainer", "accelerate"),
}


class TrackerConfig(Options):
    """An experiment tracker of accelerate, in addition to the files of the run folder."""

    name: str
    """``tensorboard``, ``wandb``, ``trackio``, ``mlflow``, ...; its package must be installed."""
    project: str = "fdiv-gym"
    """Project name in the tracker."""
    samples_every: int = pydantic.Field(10, ge=0)
    """Steps between tables of the training samples, in ``tensorboard``, ``wandb``, ``trackio`` and ``mlflow``; 0 sends
    none."""


class RunConfig(pydantic.BaseModel):
    """A complete, validated run configuration; see ``load_config``.

    A table that the trainer does not read is absent: ``engine`` and ``objective`` are None only if ``Trainer.needs`` of
    the trainer lacks them.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    seed: int = pydantic.Field(0, ge=0)
    env: PluginRef[Environment] | None = None
    model: ModelConfig = ModelConfig()
    engine: PluginRef[Engine] = None  # type: ignore[assignment] # of a trainer that samples nothing
    objective: PluginRef[Objective] = None  # type: ignore[assignment] # of a trainer with a loss of its own
    trainer: PluginRef[Any]  # the contract of trainers imports this class
    preferences: PreferencesConfig | None = None
    tracker: TrackerConfig | None = None
    callbacks: tuple[PluginRef[Callback], ...] = ()

    def references(self) -> Iterator[PluginRef[Any]]:
        """Every plugin that the run names, including those named in options of other plugins."""
        for _, value in self:
            for ref in value if isinstance(value, tuple) else (value,):
                if isinstance(ref, PluginRef):
                    yield ref
                    yield from references(ref.checked_options)

    def resolved(self) -> dict[str, Any]:
        """Every value, defaults included, as plain JSON in the shape of the file."""
        record: dict[str, Any] = {"seed": self.seed, "model": self.model.model_dump(mode="json")}
        for table, (key, _, _) in PLUGIN_TABLES.items():
            chosen: PluginRef[Any] | None = getattr(self, table)
            if chosen is not None:
                record[table] = chosen.table(key)
        if self.preferences is not None:
            record["preferences"] = self.preferences.model_dump(mode="json")
        if self.tracker is not None:
            record["tracker"] = self.tracker.model_dump(mode="json")
        if self.callbacks:
            record["callbacks"] = [callback.table() for callback in self.callbacks]
        plain: dict[str, Any] = json.loads(json.dumps(record))
        return plain


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file and apply ``a.b=c`` overrides.

    Raises:
        ConfigError: no such file, not TOML, an unknown key or name (the message names the closest known one).
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}") from None
    except IsADirectoryError:
        hint = f"; it is a run folder: resume it with --resume {path}" if (path / "config.json").is_file() else ""
        raise ConfigError(f"{path} is a folder, not a configuration file{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    return parse_config(apply_overrides(values, overrides))


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of ``values`` with each ``a.b=c`` applied; c is parsed as TOML, or else as a plain string.

    Raises:
        ConfigError: no ``=``, an empty key, or a path through a value that is not a table.
    """
    result: dict[str, Any] = _copied(values)
    for override in overrides:
        path, separator, text = override.partition("=")
        keys = [key.strip() for key in path.split(".")]
        if not separator or not all(keys):
            raise ConfigError(f"--set {override!r} must read key=value, e.g. --set trainer.steps=10")
        table = result
        for key in keys[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {override!r}: {key!r} holds a value, not a table")
        table[keys[-1]] = _toml_value(text.strip())
    return result


def parse_config(values: Mapping[str, Any]) -> RunConfig:
    """Validate a configuration given as nested dictionaries.

    Args:
        values: nested as in a run file. Where a file names a plugin, Python code may also pass a class or an
            instance: ``{"env": {"id": MyEnv, "digits": 2}, "objective": {"divergence": MyDivergence}}``.

    Raises:
        ConfigError: naming the error, its place, and the closest known name.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"a configuration must be a mapping nested like a run file, got {shorten(values)}")
    record = dict(values)
    _refuse_unknown(record)
    _hand_over_judge(record)
    record["trainer"] = _plugin("trainer", *PLUGIN_TABLES["trainer"], record.get("trainer", {}))
    read = _tables_read(record)
    for table, (key, kind, default) in PLUGIN_TABLES.items():
        if table in record or (default is not None and table in read):
            record[table] = _plugin(table, key, kind, default, record.get(table, {}))
    if "model" in record:
        record["model"] = build_options(ModelConfig, _table("model", record["model"]), "[model]")
    if "preferences" in record:
        given = _table("preferences", record["preferences"])
        record["preferences"] = build_options(PreferencesConfig, given, "[preferences]")
    if "tracker" in record:
        record["tracker"] = build_options(TrackerConfig, _table("tracker", record["tracker"]), "[tracker]")
    callbacks = record.get("callbacks", [])
    if not isinstance(callbacks, (list, tuple)):
        raise ConfigError(f"[[callbacks]] must be a list of tables, each with a name, got {shorten(callbacks)}")
    record["callbacks"] = [_plugin("callbacks", "name", "callback", None, o) for o in callbacks]
    config = build_options(RunConfig, record, "configuration")
    _check_streams(config)
    return config


def _refuse_unknown(record: Mapping[str, Any]) -> None:
    known = [*RunConfig.model_fields, "judge"]
    for key in record:
        if key not in known:
            raise ConfigError(f"configuration: unknown key {key!r} ({did_you_mean(str(key), known)})")


def _tables_read(record: Mapping[str, Any]) -> frozenset[str]:
    """The tables that the trainer reads.

    Raises:
        ConfigError: another one is given.
    """
    trainer: PluginRef[Any] = record["trainer"]
    read: frozenset[str] = trainer.plugin_class.needs
    for table in ("env", "engine", "objective", "preferences", "tracker", "callbacks"):
        if table not in read and record.get(table) not in (None, [], ()):
            shown = ", ".join(f"[{name}]" for name in sorted({"model", "trainer", *read}))
            raise ConfigError(f"trainer {trainer.name!r} does not read [{table}]: remove the table; it reads {shown}")
    return read


def _hand_over_judge(record: dict[str, Any]) -> None:
    """Move the table [judge] to the environment's option ``judge``."""
    if "judge" not in record:
        return
    judge = dict(_table("judge", record.pop("judge")))
    if record.get("env") is None:
        raise ConfigError("[judge] sets the judge of an environment: add a table [env]")
    if _is_plugin(record["env"]):
        record["env"] = {"id": record["env"]}
    env = dict(_table("env", record["env"]))
    if "judge" in env:
        raise ConfigError("the judge is given twice: as [judge] and as env.judge; remove one of them")
    record["env"] = env | {"judge": judge}


def _plugin(table: str, key: str, kind: str, default: str | None, values: Any) -> PluginRef[Any]:
    """The plugin that a table names by a registered name, or in Python code by a class or an instance.

    Raises:
        ConfigError: the name is unknown, or an option is wrong.
        MissingExtraError: a package is missing.
        PluginError: the plugin is blocked, broken or not of that kind.
    """
    if isinstance(values, PluginRef):
        return values.resolved(kind)
    options = {key: values} if _is_plugin(values) else dict(_table(table, values))
    name = options.pop(key, default)
    if name is None:
        raise ConfigError(f'[{table}] needs {key} = "...": the {kind} to use (fdiv-gym list {kind})')
    try:
        return PluginRef.of(kind, {"name": name, **options}, f"[{table}]")
    except UnknownNameError as error:
        raise ConfigError(f"[{table}] {key} = {shorten(name)}: {error}") from None
    except PluginError as error:
        raise type(error)(f"[{table}] {error}") from error


def _is_plugin(value: Any) -> bool:
    """Whether a value is a class or an instance, passed from Python in place of a table."""
    return isinstance(value, (type, Configurable))


def _copied(value: Any) -> Any:
    """A copy of tables and lists; classes and instances are kept, and a TOML date becomes a string."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    return str(value) if isinstance(value, (datetime.date, datetime.time)) else value


def dotted(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The values of nested tables by their dotted keys, e.g. ``trainer.steps``."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        values |= dotted(value, f"{path}{key}.") if isinstance(value, Mapping) else {f"{path}{key}": value}
    return values


def _table(name: str, values: Any) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        key = PLUGIN_TABLES[name][0] if name in PLUGIN_TABLES else "name" if name == "tracker" else ""
        hint = f": use {name}.{key} = {shorten(values)}" if key and isinstance(values, str) else ""
        raise ConfigError(f"[{name}] must be a table, got {shorten(values)}{hint}")
    return values


def _check_streams(config: RunConfig) -> None:
    if config.objective is None:
        return
    objective = config.objective.build()
    streams = check_streams(objective)
    if "rollouts" in streams and config.env is None:
        raise ConfigError(
            f'objective {config.objective.name!r} needs rollouts: add a table [env] with id = "namespace/Name-vN"'
        )
    if "preferences" in streams and config.preferences is None:
        raise ConfigError(
            f'objective {config.objective.name!r} needs preferences: add a table [preferences] with path = "..."'
        )
    if "preferences" not in possible_streams(objective) and config.preferences is not None:
        raise ConfigError(f"objective {config.objective.name!r} reads no preferences: remove the table [preferences]")


def possible_streams(objective: Objective) -> tuple[str, ...]:
    """The streams that an objective reads under some options: f-hal at lam = 0 reads no preferences, others do.

    A sweep over such an option keeps the table [preferences].

    Raises:
        PluginError: the objective names no stream, or an unknown one.
    """
    of_class = type(objective).streams
    return tuple(of_class) if isinstance(of_class, tuple) else check_streams(objective)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
