"""Changes of a run's configuration between its start and a resume: refused, or accepted and recorded.

``provenance.json`` holds the configuration of the start by dotted keys, under ``config``, and every accepted change
under ``changes``. ``config.json`` is compared with it, so an edit of the file is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fdiv_gym.errors import ConfigError
from fdiv_gym.registry.messages import shorten
from fdiv_gym.runs.config import RunConfig, dotted
from fdiv_gym.runs.folder import CONFIG, PROVENANCE, RunFolder

RESUME_CHANGED = "accept the changes with --accept-changes, in Python with accept_changes=True"


def refuse_edited_configuration(run: RunFolder) -> None:
    """Refuse to resume if ``config.json`` is not what the run started with, or was accepted since.

    Raises:
        ConfigError: naming the keys with both values; or a run with checkpoints has no record to compare with.
    """
    began = run.read_json(PROVENANCE).get("config")
    if not isinstance(began, Mapping):
        if run.checkpoints():
            raise ConfigError(
                f"{run.path / PROVENANCE} does not tell what the run started with, although it has checkpoints: "
                f"restore the file, or {RESUME_CHANGED}"
            )
        return  # interrupted before anything was recorded
    changed = differences(began, dotted(run.config()))
    if changed:
        raise ConfigError(
            f"{run.path / CONFIG} was edited since the run started: {listed(changed)}; undo this, or {RESUME_CHANGED}"
        )


def refuse_other_configuration(run: RunFolder, config: RunConfig) -> None:
    """Refuse to resume a run with a configuration that is not its own.

    Raises:
        ConfigError: naming the keys with both values.
    """
    changed = differences(dotted(run.config()), dotted(config.resolved()))
    if changed:
        raise ConfigError(
            f"the run in {run.path} has another configuration: {listed(changed)}; "
            f"resume it with its own configuration, {RESUME_CHANGED}, or start a new run"
        )


def record_changes(run: RunFolder, config: RunConfig, step: int) -> dict[str, list[Any]]:
    """Record an accepted change and write the configuration; every trainer calls this function when it resumes.

    Args:
        run: the run folder.
        config: the configuration of the resumed run.
        step: the step from which it resumes.

    Returns:
        Old and new value of every changed key; empty if nothing was changed.
    """
    record, now, stored = run.read_json(PROVENANCE), config.resolved(), dotted(run.config())
    began = record.get("config")
    changed = differences(began if isinstance(began, Mapping) else stored, dotted(now))
    if record and changed:
        changes = [*record.get("changes", []), {"step": step, "changed": changed}]
        run.write_json(PROVENANCE, record | {"config": dotted(now), "changes": changes})
    if differences(stored, dotted(now)):
        run.write_json(CONFIG, now)
    return changed


def differences(began: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Old and new value of the keys that differ; ``absent`` where there is none."""
    return {
        key: [began.get(key, "absent"), now.get(key, "absent")]
        for key in sorted({*began, *now})
        if began.get(key, ...) != now.get(key, ...)
    }


def listed(changed: Mapping[str, list[Any]]) -> str:
    """The first five changes as text."""
    texts = [f"{key} ({shorten(old, 40)} -> {shorten(new, 40)})" for key, (old, new) in changed.items()]
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")
