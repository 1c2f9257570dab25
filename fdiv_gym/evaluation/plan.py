"""The plan of an evaluation: a model (hub id, folder, run folder, ``embedded``) and an environment."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdiv_gym.envs.base import Split
from fdiv_gym.errors import ConfigError
from fdiv_gym.evaluation.samples import Mode
from fdiv_gym.evaluation.source import initial_model, locate, served_name
from fdiv_gym.files import no_path
from fdiv_gym.models.adapter_trust import is_adapter
from fdiv_gym.models.added import resolve
from fdiv_gym.registry.lookup import entry_named
from fdiv_gym.registry.messages import shorten
from fdiv_gym.remote.options import ServerOptions
from fdiv_gym.rollouts.engine import Engine
from fdiv_gym.rollouts.text_engine import TextEngine
from fdiv_gym.runs.config import RunConfig, apply_overrides, parse_config
from fdiv_gym.runs.consent import require_consent, urls
from fdiv_gym.runs.folder import CONFIG, RunFolder, similar_runs
from fdiv_gym.runs.provenance import entries_in_use, plugins_in_use

END_BYTES = 1 << 20
"""Bytes to hash from each end of a file: differently trained weights differ everywhere."""

OF_TRAINING = ("lora", "reference", "reference_every")
"""Keys of the table [model] that only training reads."""

TABLES = ("seed", "env", "model", "engine", "judge")


@dataclass(frozen=True)
class Plan:
    """A complete evaluation.

    Args:
        config: environment, engine and model; objective and trainer are not used.
        split: the split of the tasks.
        tasks: largest number of tasks, from the first; None for all.
        samples: responses to each task.
        greedy: take the most likely token instead of sampling; needs ``samples`` = 1.
        seed: seed of the draws.
        batch: tasks per batch; an evaluation resumes after the last complete batch.
        trained_on: the environment table of the run that trained the model; None for other models.

    Raises:
        ConfigError: a number is out of range, or several greedy samples.
    """

    config: RunConfig
    split: Split = "heldout"
    tasks: int | None = None
    samples: int = 8
    greedy: bool = False
    seed: int = 0
    batch: int = 16
    trained_on: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.samples < 1 or self.batch < 1 or (self.tasks is not None and self.tasks < 1):
            raise ConfigError("samples, batch and tasks must be at least 1")
        if self.seed < 0:
            raise ConfigError(f"the seed must be at least 0, got {self.seed}")
        if self.greedy and self.samples != 1:
            raise ConfigError("greedy responses are all equal: evaluate one sample, or omit --greedy")

    @property
    def mode(self) -> Mode:
        """The mode of the samples."""
        return "greedy" if self.greedy else "sampled"

    @property
    def temperature(self) -> float | None:
        """The temperature of the samples; 0 is greedy, None an engine without that option."""
        return 0.0 if self.greedy else getattr(self.config.engine.checked_options, "temperature", None)

    @property
    def is_served(self) -> bool:
        """Whether the model is elsewhere, and its name is that of its server."""
        return issubclass(self.config.engine.plugin_class, TextEngine)

    def record(self) -> dict[str, Any]:
        """Everything that determines the samples, as plain JSON."""
        resolved = self.config.resolved()
        tables = {name: resolved[name] for name in TABLES[1:] if name in resolved}
        tables["engine"] = {k: v for k, v in tables["engine"].items() if k not in self._of_transport()}
        own: dict[str, Any] = {
            name: getattr(self, name) for name in ("split", "tasks", "samples", "greedy", "seed", "batch")
        }
        if self.is_served:
            return {**tables, **own, "weights": None, "sources": self._sources()}
        model = self.config.model
        adapter = {} if model.adapter is None else {"adapter": weights_digest(model.adapter)}
        weights = weights_digest(model.name_or_path, model.gguf_file)
        return {**tables, **own, "weights": weights, **adapter, "sources": self._sources()}

    def _of_transport(self) -> frozenset[str]:
        # An evaluation that a slow server ended may be resumed with more patience.
        options = self.config.engine.checked_options
        return options.of_transport if isinstance(options, ServerOptions) else frozenset()

    def _sources(self) -> dict[str, str]:
        # The code that makes tasks, draws and scores: other code gives other samples.
        used = plugins_in_use(entries_in_use(self.config))
        return {name: plugin["source"] for name, plugin in used.items()}

    def fingerprint(self) -> str:
        """Ten hex digits of the hash of what the record identifies."""
        return hashlib.sha256(json.dumps(identified(self.record()), sort_keys=True).encode()).hexdigest()[:10]


def identified(record: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's record without the paths of weights whose digest it has: the same weights may lie elsewhere."""
    by_digest = {"name_or_path": record.get("weights"), "adapter": record.get("adapter")}
    model = record.get("model")
    if not isinstance(model, Mapping):  # a damaged file: it differs from every plan
        return dict(record)
    return {**record, "model": {name: value for name, value in model.items() if not by_digest.get(name)}}


def weights_digest(name_or_path: str, gguf_file: str | None = None) -> str | None:
    """A digest of a local model, GGUF file or adapter, from the size and both ends of each file; None for others."""
    folder = Path(resolve(name_or_path)).expanduser()
    files = [folder / gguf_file] if gguf_file else sorted(folder.glob("*"))
    files = [path for path in files if path.is_file()]
    if not files or not (gguf_file or (folder / "config.json").is_file() or is_adapter(folder)):
        return None
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest.update(f"{path.name}:{size}:".encode() + file.read(END_BYTES))
            file.seek(max(size - END_BYTES, 0))
            digest.update(file.read())
    return digest.hexdigest()[:16]


def configure(
    model: str,
    env_id: str | None = None,
    config_file: Path | None = None,
    overrides: Sequence[str] = (),
    step: int | None = None,
    *,
    engine: str | None = None,
    trust_endpoints: bool = False,
    trust_remote_code: bool = False,
) -> tuple[RunConfig, Mapping[str, Any] | None]:
    """The configuration for a model of the command line, and the environment table that it was trained on.

    Args:
        model: ``embedded``, an added model, a hub id, a model folder, a run folder (its newest checkpoint) or a
            checkpoint; with an engine that reaches a model elsewhere, the model's name there.
        env_id: the environment, or a run folder for its environment and the sampling options of its engine; by
            default that of the file or of the run.
        config_file: a file with options of the environment and the engine.
        overrides: ``a.b=c``, as for training.
        step: the step of a checkpoint of the run; 0 is its initial model, None its newest checkpoint.
        engine: the engine; by default that of the file or of the run. Of the run's engine it keeps the options that
            every engine has.
        trust_endpoints: whether prompts and responses may be sent to the servers that a run folder names.
        trust_remote_code: whether the model's own Python code may run, if a run folder asks for that.

    Raises:
        ConfigError: no environment is given, the configuration is wrong, there is no such step, or a run folder names a
            server or code of the model without the user's consent.
        TrainerError: a run folder without a checkpoint, or an initial model that cannot be built again.
    """
    for what, name in (("model", model), ("--env", env_id or "")):
        if problem := no_path(name):
            raise ConfigError(f"the name of {what} {shorten(name)} is none: {problem}")
    own = {} if config_file is None else _read(config_file)
    served = _is_served(engine, own, overrides)
    run, weights = (None, served_name(model, step)) if served else locate(model, step)
    other = _run_of_environment(env_id)
    values = {} if run is None else {key: value for key, value in run.config().items() if key in TABLES}
    trained_on = values.get("env")
    values = apply_overrides(_chosen(values, own, env_id, other, engine), overrides)
    if served:
        _refuse_model_options(values.get("model"))
    values["model"] = model_table(values.get("model", {}), run, weights, step)
    if "env" not in values and run is None and not served and model != "embedded" and not Path(model).exists():
        raise ConfigError(
            f"there is no run {model!r} here{similar_runs(Path(model))}; to evaluate a model of that name give "
            "--env namespace/Name-vN, or --config with a table [env]"
        )
    if "env" not in values:
        raise ConfigError("no environment: give --env namespace/Name-vN, or --config with a table [env]")
    config = parse_config(values)
    named = [*urls(own), *urls(apply_overrides({}, overrides))]
    if run is not None:
        require_consent(
            config, run.path, trust_endpoints=trust_endpoints, trust_remote_code=trust_remote_code, given=named
        )
    elif other is not None:  # it gives no model, so no code of one
        require_consent(config, other.path, trust_endpoints=trust_endpoints, trust_remote_code=True, given=named)
    return config, trained_on


def _chosen(
    values: Mapping[str, Any],
    own: Mapping[str, Any],
    env_id: str | None,
    other: RunFolder | None,
    engine: str | None,
) -> dict[str, Any]:
    """The tables of the model's run, changed by the user's file, the named environment or run, and the named engine."""
    values = dict(values)
    if other is not None:
        theirs = other.config()
        values |= {key: value for key, value in theirs.items() if key in ("env", "judge")}
        values.setdefault("engine", _of_every_engine(theirs.get("engine")))
        own = {key: value for key, value in own.items() if key not in ("env", "judge")}
    values |= {key: value for key, value in own.items() if key in TABLES}
    if other is None and env_id is not None and values.get("env", {}).get("id") != env_id:
        values["env"] = {"id": env_id}
    if engine is not None:
        given = values.get("engine")
        if not (isinstance(given, Mapping) and given.get("name") == engine):
            values["engine"] = {**_of_every_engine(given), "name": engine}
    return values


def _refuse_model_options(table: Any) -> None:
    """Refuse options of the weights where a server has them.

    Raises:
        ConfigError: an option other than ``chat``.
    """
    without_effect = sorted(set(table or {}) - {"chat", "name_or_path"})
    if without_effect:
        raise ConfigError(f"[model] {without_effect[0]} has no effect on the model of a server: remove it")


def _is_served(engine: str | None, own: Mapping[str, Any], overrides: Sequence[str]) -> bool:
    """Whether the user chose an engine that reaches a model elsewhere; a run has none, since it cannot train."""
    table = apply_overrides({"engine": own.get("engine", {})}, overrides).get("engine")
    name = engine if engine is not None else table.get("name") if isinstance(table, Mapping) else None
    if not isinstance(name, str):
        return False
    return issubclass(entry_named("engine", name).load(), TextEngine)


def _run_of_environment(env_id: str | None) -> RunFolder | None:
    """The run whose environment ``--env`` asks for; None for an id."""
    if env_id is None or not (Path(env_id) / CONFIG).is_file():
        return None
    return RunFolder.open_existing(env_id)


def _of_every_engine(table: Any) -> dict[str, Any]:
    """The options in a table [engine] that every engine has, such as the temperature."""
    return (
        {key: table[key] for key in Engine.Options.model_fields if key in table} if isinstance(table, Mapping) else {}
    )


def model_table(table: Any, run: RunFolder | None, weights: str, step: int | None) -> Any:
    """The table [model] for these weights; an adapter of a run goes with the initial model of that run.

    The adapter, the GGUF file and the revision of a run's own table belong to its initial model, and no evaluation
    trains one.
    """
    if not isinstance(table, Mapping):
        return table  # refused with the configuration
    kept = {key: value for key, value in table.items() if key not in OF_TRAINING}
    if run is None:
        return kept | {"name_or_path": weights}
    if is_adapter(weights):
        return kept | {"name_or_path": initial_model(run), "adapter": weights}
    return (
        kept | {"name_or_path": weights} | ({} if step == 0 else {"adapter": None, "gguf_file": None, "revision": None})
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
