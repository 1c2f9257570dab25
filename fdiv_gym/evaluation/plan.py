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
from fdiv_gym.evaluation.source import initial_model, locate
from fdiv_gym.models.adapter_trust import is_adapter
from fdiv_gym.models.added import resolve
from fdiv_gym.runs.config import RunConfig, apply_overrides, parse_config
from fdiv_gym.runs.consent import require_consent, urls
from fdiv_gym.runs.folder import RunFolder, similar_runs
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

    def record(self) -> dict[str, Any]:
        """Everything that determines the samples, as plain JSON."""
        resolved = self.config.resolved()
        tables = {name: resolved[name] for name in TABLES[1:] if name in resolved}
        own: dict[str, Any] = {
            name: getattr(self, name) for name in ("split", "tasks", "samples", "greedy", "seed", "batch")
        }
        model = self.config.model
        adapter = {} if model.adapter is None else {"adapter": weights_digest(model.adapter)}
        weights = weights_digest(model.name_or_path, model.gguf_file)
        return {**tables, **own, "weights": weights, **adapter, "sources": self._sources()}

    def _sources(self) -> dict[str, str]:
        # The code that makes tasks, draws and scores: other code gives other samples.
        used = plugins_in_use(entries_in_use(self.config))
        return {name: plugin["source"] for name, plugin in used.items()}

    def fingerprint(self) -> str:
        """Ten hex digits of the record's hash."""
        return hashlib.sha256(json.dumps(self.record(), sort_keys=True).encode()).hexdigest()[:10]


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
    trust_endpoints: bool = False,
    trust_remote_code: bool = False,
) -> tuple[RunConfig, Mapping[str, Any] | None]:
    """The configuration for a model of the command line, and the environment table that it was trained on.

    Args:
        model: ``embedded``, an added model, a hub id, a model folder, a run folder (its newest checkpoint) or a
            checkpoint.
        env_id: the environment; by default that of the file or of the run.
        config_file: a file with options of the environment and the engine.
        overrides: ``a.b=c``, as for training.
        step: the step of a checkpoint of the run; 0 is its initial model, None its newest checkpoint.
        trust_endpoints: whether prompts and responses may be sent to the servers that a run folder names.
        trust_remote_code: whether the model's own Python code may run, if a run folder asks for that.

    Raises:
        ConfigError: no environment is given, the configuration is wrong, there is no such step, or a run folder names a
            server or code of the model without the user's consent.
        TrainerError: a run folder without a checkpoint, or an initial model that cannot be built again.
    """
    run, weights = locate(model, step)
    values: dict[str, Any] = {}
    trained_on = None
    if run is not None:
        values = {key: value for key, value in run.config().items() if key in TABLES}
        trained_on = values.get("env")
    own: Mapping[str, Any] = {}
    if config_file is not None:
        own = _read(config_file)
        values |= {key: value for key, value in own.items() if key in TABLES}
    if env_id is not None and values.get("env", {}).get("id") != env_id:
        values["env"] = {"id": env_id}
    values = apply_overrides(values, overrides)
    values["model"] = model_table(values.get("model", {}), run, weights, step)
    if "env" not in values and run is None and model != "embedded" and not Path(model).exists():
        raise ConfigError(
            f"there is no run {model!r} here{similar_runs(Path(model))}; to evaluate a model of that name give "
            "--env namespace/Name-vN, or --config with a table [env]"
        )
    if "env" not in values:
        raise ConfigError("no environment: give --env namespace/Name-vN, or --config with a table [env]")
    config = parse_config(values)
    if run is not None:
        named = [*urls(own), *urls(apply_overrides({}, overrides))]
        require_consent(
            config, run.path, trust_endpoints=trust_endpoints, trust_remote_code=trust_remote_code, given=named
        )
    return config, trained_on


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
