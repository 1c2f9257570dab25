"""Start and resume of runs, from Python and for ``fdiv-gym train``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdiv_gym.errors import ConfigError, FdivGymError, TrainerError
from fdiv_gym.registry.guard import culprit_of, label_of
from fdiv_gym.registry.messages import INTERRUPTS, cause_of, shorten
from fdiv_gym.rollouts.text_engine import TextEngine, cannot_train
from fdiv_gym.runs.changes import refuse_edited_configuration, refuse_other_configuration
from fdiv_gym.runs.config import RunConfig, apply_overrides, load_config, parse_config
from fdiv_gym.runs.consent import require_consent
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.runs.lock import locked
from fdiv_gym.runs.provenance import accept_changed_plugins, refuse_changed_plugins, refuse_unknown_sources
from fdiv_gym.runs.result import RunResult


def train(
    config: RunConfig | Mapping[str, Any] | str | Path,
    output: str | Path,
    *,
    resume: bool = False,
    allow_plugin_change: bool = False,
    accept_changes: bool = False,
) -> RunResult:
    """Train a policy as ``fdiv-gym train`` does.

    Args:
        config: a configuration, dictionaries nested like a run file, or the path of such a file. In
            dictionaries, a class or an instance may replace the name of a plugin; the run records the source of
            its class. An instance is used directly, and closed at the end.
        output: the run folder; it must not contain a run, unless ``resume`` is set.
        resume: resume the run in ``output`` from its newest checkpoint; ``config`` must be its configuration.
        allow_plugin_change: resume although plugins, or classes passed here, have changed since.
        accept_changes: resume although ``config`` or the file ``config.json`` is not what the run started with; the
            changes are recorded in ``provenance.json``.

    Raises:
        ConfigError: the configuration is wrong, or is not that of the run to resume; or another process writes into
            the folder.
        TrainerError: training cannot start, continue or be stored, or plugins of the run have changed.
        FdivGymError: any other failure. If a run fails before its first evaluation or step, its folder is
            removed.
    """
    config = _configuration(config)
    _refuse_untrainable(config)
    if not isinstance(output, (str, os.PathLike)):
        raise ConfigError(f"the run folder must be a path, got {shorten(output)}")
    if not resume:
        with _locked(Path(output)):
            if is_main_process():
                RunFolder.create(output, config.resolved())
            return _fit(config, Path(output), resume=False)
    run = RunFolder.open_existing(output)
    with _locked(run.path):
        if not accept_changes:
            refuse_edited_configuration(run)
            refuse_other_configuration(run, config)
        return _resume(run, config, allow_plugin_change)


def resume_run(
    folder: str | Path,
    overrides: Sequence[str] = (),
    *,
    allow_plugin_change: bool = False,
    accept_changes: bool = False,
    trust_endpoints: bool = False,
    trust_remote_code: bool = False,
) -> RunResult:
    """Resume a run from its folder alone.

    Args:
        folder: the run folder; it may be another person's.
        overrides: changes ``a.b=c`` of its configuration, e.g. ``trainer.steps=600`` to extend it; they are recorded
            in ``provenance.json``.
        allow_plugin_change: resume although plugins have changed since.
        accept_changes: resume although ``config.json`` was edited since the start; this is recorded too.
        trust_endpoints: whether prompts and responses may be sent to the servers that the folder names.
        trust_remote_code: whether the model's own Python code may run, if the folder asks for that.

    Raises:
        TrainerError: there is no run in the folder, or plugins that it uses have changed.
        ConfigError: ``config.json`` was edited; another process writes into the folder; or the run uses a class that
            was passed from Python: resume it by ``train`` with that class; or it names a server or code of the model
            without the user's consent.
    """
    run = RunFolder.open_existing(folder)
    with _locked(run.path):
        if not accept_changes:
            refuse_edited_configuration(run)
        config = parse_config(apply_overrides(run.config(), overrides))
        require_consent(config, folder, trust_endpoints=trust_endpoints, trust_remote_code=trust_remote_code)
        return _resume(run, config, allow_plugin_change)


def _refuse_untrainable(config: RunConfig) -> None:
    """Refuse an engine that only evaluates, before a folder or a model is made.

    Raises:
        ConfigError: always for a ``TextEngine``.
    """
    if config.engine is not None and issubclass(config.engine.plugin_class, TextEngine):
        raise ConfigError(f"[engine] {cannot_train(config.engine.name)}")


def _locked(folder: Path) -> contextlib.AbstractContextManager[int | None]:
    """The lock of a run folder; the first of several processes holds it for all of them."""
    if not is_main_process():
        return contextlib.nullcontext()
    return locked(folder, "the run folder", "choose another run folder")


def is_main_process() -> bool:
    """Whether this is the first of the processes that ``accelerate launch`` started."""
    return os.environ.get("RANK", "0") == "0"


def _configuration(config: RunConfig | Mapping[str, Any] | str | Path) -> RunConfig:
    if isinstance(config, RunConfig):
        return config
    if isinstance(config, (str, Path)):
        return load_config(config)
    if isinstance(config, Mapping):
        return parse_config(config)
    raise ConfigError(
        f"a configuration must be a RunConfig, a mapping or the path of a TOML file, got {shorten(config)}"
    )


def _resume(run: RunFolder, config: RunConfig, allow_plugin_change: bool) -> RunResult:
    _refuse_untrainable(config)
    run.refuse_linked_checkpoints()
    if not allow_plugin_change:
        refuse_changed_plugins(run, config)
        refuse_unknown_sources(run, config)
    elif is_main_process():
        accept_changed_plugins(run, config)
    return _fit(config, run.path, resume=True)


def _fit(config: RunConfig, folder: Path, *, resume: bool) -> RunResult:
    try:
        trainer = config.trainer.build()
        try:
            result: object = trainer.fit(config, folder, resume=resume)
        except (FdivGymError, *INTERRUPTS):
            raise
        except BaseException as error:
            culprit = culprit_of(error) or label_of(trainer)
            raise TrainerError(f"{culprit} failed: {cause_of(error)}") from error
        if not isinstance(result, RunResult):
            raise TrainerError(f"{label_of(trainer)}: fit must return a RunResult, got {shorten(result)}")
    except BaseException:  # includes Ctrl-C in the warm start
        if not resume and is_main_process():
            RunFolder(folder).remove_if_nothing_happened()
        raise
    return result
