"""Provenance: which plugins, in which state, a run uses."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fdiv_gym.config import PLUGIN_TABLES, RunConfig
from fdiv_gym.discovery import discovery
from fdiv_gym.registry import Entry
from fdiv_gym.version import __version__

PACKAGES = ("numpy", "gymnasium", "torch", "transformers", "accelerate", "sympy", "math-verify", "datasets")


def provenance(config: RunConfig) -> dict[str, Any]:
    """What ``provenance.json`` holds."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "fdiv_gym": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": versions,
        "seed": config.seed,
        "plugins": plugins_in_use(entries_in_use(config)),
    }


def entries_in_use(config: RunConfig) -> list[Entry]:
    """The registry entries the configuration names, those named in options of the objective included."""
    registry = discovery.registry
    found = {}
    for table, (_, kind, _) in PLUGIN_TABLES.items():
        chosen = getattr(config, table)
        if chosen is not None:
            found[kind, chosen.name] = registry.get(kind, chosen.name)
            found.update(_nested(chosen.options))
    if config.judge is not None:
        found["judge", config.judge.name] = registry.get("judge", config.judge.name)
    for observer in config.observers:
        found["observer", observer.name] = registry.get("observer", observer.name)
    return list(found.values())


def _nested(options: dict[str, Any]) -> dict[tuple[str, str], Entry]:
    # An option called after a kind names a plugin of that kind: divergence = "kl", advantage = "group".
    found = {}
    for kind in ("divergence", "advantage", "aggregation", "verifier", "judge", "objective"):
        value = options.get(kind)
        name = value.get("name") if isinstance(value, dict) else value
        if isinstance(name, str) and name:
            entry = discovery.registry.get(kind, name)
            found[kind, name] = entry
    return found


def plugins_in_use(entries: Iterable[Entry]) -> dict[str, dict[str, str]]:
    """``plugin -> {version, source}`` for the plugins behind these entries."""
    known = {plugin.name: plugin for plugin in discovery.plugins()}
    return {
        name: {"version": known[name].version, "source": source_hash(known[name].module)}
        for name in sorted({entry.plugin for entry in entries})
        if name in known
    }


def source_hash(module: str) -> str:
    """SHA-256 (first 16 hex digits) over the Python files of the package that holds ``module``."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None or spec.origin is None:
        return "unknown"
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(origin.parent)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
