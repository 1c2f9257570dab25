"""The weights that a model of the command line stands for: a checkpoint of a run, its initial model, or any other."""

from __future__ import annotations

from pathlib import Path

from fdiv_gym.errors import ConfigError, TrainerError
from fdiv_gym.manifest import damage_of
from fdiv_gym.models.adapter_trust import is_adapter
from fdiv_gym.models.config import ModelConfig
from fdiv_gym.registry.guard import close_plugin
from fdiv_gym.runs.config import parse_config
from fdiv_gym.runs.folder import PROVENANCE, RunFolder


def locate(model: str, step: int | None = None) -> tuple[RunFolder | None, str]:
    """The run that a model belongs to, if any, and the folder or name of its weights.

    Args:
        model: ``embedded``, an added model, a hub id, a model folder, a run folder or a checkpoint.
        step: the step of a checkpoint of the run folder; 0 is the initial model, None the newest checkpoint.

    Raises:
        ConfigError: there is no checkpoint of that step, or ``model`` is not a run folder but a step is given.
        TrainerError: a run folder without a checkpoint, a damaged checkpoint, or an initial model that cannot be
            built again.
    """
    path = Path(model)
    if step is not None:
        if not (path / "checkpoints").is_dir():
            raise ConfigError(f"--step chooses a checkpoint of a run, but {model!r} is not a run folder")
        run = RunFolder.open_existing(path)
        return run, initial_model(run) if step == 0 else _model_of(_checkpoint(run, step))
    if (path / "state.pt").is_file() and (path / "model").is_dir():
        folder = path.parent.parent
        return (RunFolder(folder) if (folder / "config.json").is_file() else None), _model_of(path)
    if not (path / "checkpoints").is_dir():
        _refuse_no_model(model)
        return None, model
    run = RunFolder.open_existing(path)
    checkpoints = run.checkpoints()
    if not checkpoints:
        raise TrainerError(
            f"run {path} has no checkpoint yet: nothing to evaluate but its initial model, which is --step 0"
        )
    return run, _model_of(checkpoints[-1])


def served_name(model: str, step: int | None = None) -> str:
    """The name of a model at its server, for an engine that reaches a model elsewhere.

    Raises:
        ConfigError: an empty name, a run folder or a checkpoint, or a step of one.
    """
    path = Path(model)
    if not model.strip():
        raise ConfigError("the model's name is empty: give its name at the server")
    if step is not None or (path / "checkpoints").is_dir() or (path / "state.pt").is_file():
        raise ConfigError(
            f"this engine evaluates a model of a server, and {model!r} is given as a run or a checkpoint: give the "
            "model's name at the server without --step; --env RUN takes the environment of a run"
        )
    if model == "embedded":
        raise ConfigError("the embedded model is built here and no server has it: give the model's name at the server")
    return model


def _model_of(checkpoint: Path) -> str:
    """The model folder of a checkpoint.

    Raises:
        TrainerError: a file of the checkpoint is not what was saved, or it holds no policy.
    """
    reason = damage_of(checkpoint)
    if reason is not None:
        raise TrainerError(f"checkpoint {checkpoint} is damaged: {reason}; choose another one with --step")
    if not (checkpoint / "model").is_dir():
        held = ", ".join(sorted(path.name for path in checkpoint.iterdir() if path.is_dir())) or "no folder"
        raise TrainerError(f"checkpoint {checkpoint} holds no policy (no folder model): it has {held}")
    return str(checkpoint / "model")


def _refuse_no_model(model: str) -> None:
    """Refuse what can be neither a model nor a run; a name that does not exist here may be a hub id.

    Raises:
        ConfigError: an empty name, a file, or a folder without config.json.
    """
    path = Path(model)
    if not model.strip():
        raise ConfigError("the model's name is empty: give a run folder, a model folder, a hub id or 'embedded'")
    if path.is_file():
        raise ConfigError(f"{model} is a file: give a run folder, a model folder, a hub id or 'embedded'")
    if is_adapter(path):
        raise ConfigError(
            f"{model} is an adapter without its base model: give its run folder or its checkpoint, or the base model "
            f'with --set model.adapter="{model}"'
        )
    if path.is_dir() and not (path / "config.json").is_file() and not [*path.glob("*.gguf")]:
        inside = [str(found.parent) for found in sorted(path.glob("*/config.json"))]
        hint = f"; inside it are {', '.join(inside[:5])}" if inside else ""
        raise ConfigError(f"{model} is neither a run folder nor a model folder: it has no config.json{hint}")


def initial_model(run: RunFolder) -> str:
    """The folder or hub id of the model that a run started from; an embedded model is taken from the cache or built.

    Raises:
        ConfigError: the run's own configuration is wrong, or it is a run on preferences only with an embedded model.
        TrainerError: the embedded model built now is not the one of the run.
    """
    name = (run.config().get("model") or {}).get("name_or_path", "embedded")
    if name != "embedded":
        return str(name)
    config = parse_config(run.config())
    if config.env is None:
        raise ConfigError(
            f"the initial model of {run.path} was built from its preferences, not from an environment: "
            "it cannot be built again here; train for one step and evaluate that, or set model.name_or_path"
        )
    from fdiv_gym.models.embedded import EnvDemonstrations, embedded_model_folder

    env = config.env.build()
    try:
        folder = embedded_model_folder(config.model.embedded, EnvDemonstrations(env))
    finally:
        close_plugin(env)
    _check_weights(run, config.model, str(folder))
    return str(folder)


def _check_weights(run: RunFolder, model: ModelConfig, folder: str) -> None:
    # Another version of torch, of the environment or another machine may give other weights.
    from fdiv_gym.models import adapters
    from fdiv_gym.models.loading import weights_hash

    recorded = run.read_json(PROVENANCE).get("initial_weights")
    found = weights_hash(adapters.initial_model(model, folder))
    if recorded is not None and recorded != found:
        raise TrainerError(
            f"the run in {run.path} started with initial weights {recorded}, but the embedded model built here has "
            f"{found} (another version of torch or of the environment): its initial model is not available"
        )


def _checkpoint(run: RunFolder, step: int) -> Path:
    found = {int(path.name.partition("-")[2]): path for path in run.checkpoints()}
    if step not in found:
        kept = ", ".join(map(str, [0, *found]))
        raise ConfigError(f"run {run.path} has no checkpoint of step {step}; it has {kept} (0 is the initial model)")
    return found[step]
