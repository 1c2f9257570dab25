"""Provenance: the plugins of a run, with their versions and sources.

A class or an instance passed from Python is listed among the plugins as ``python:module:Class``, with its
source text in place of a version. If two classes have the same place, for example because a notebook
defined a class again, ``#`` and the hash are appended to each.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fdiv_gym.errors import TrainerError
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.entry import Entry
from fdiv_gym.registry.kinds import kind_of
from fdiv_gym.runs.config import RunConfig, dotted
from fdiv_gym.runs.folder import PROVENANCE, RunFolder
from fdiv_gym.runs.source import source_of
from fdiv_gym.version import __version__

PACKAGES = ("numpy", "gymnasium", "torch", "transformers", "accelerate", "sympy", "math-verify", "datasets")

RESUME_ANYWAY = "resume anyway with --allow-plugin-change, in Python with allow_plugin_change=True"


def provenance_of(config: RunConfig) -> dict[str, Any]:
    """The content of ``provenance.json``."""
    entries = entries_in_use(config)
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
        "config": dotted(config.resolved()),
        "plugins": plugins_in_use(entries),
        "entries": [{"kind": e.kind, "name": e.name, "plugin": e.plugin} for e in entries],
    }


def refuse_changed_plugins(run: RunFolder, config: RunConfig) -> None:
    """Refuse to resume a run with changed plugins; every trainer calls this function before it resumes.

    Raises:
        TrainerError: the plugins of the run have changed since it started.
    """
    changed = changed_plugins(run, config)
    if changed:
        raise TrainerError(f"plugins of the run in {run.path} have changed: {'; '.join(changed)}; {RESUME_ANYWAY}")


def refuse_unknown_sources(run: RunFolder, config: RunConfig) -> None:
    """Refuse to resume with classes whose source cannot be compared.

    Raises:
        TrainerError: the source of a class that no plugin registered cannot be found.
    """
    if not run.read_json(PROVENANCE).get("plugins"):  # interrupted before anything was recorded
        return
    current = plugins_in_use(entries_in_use(config))
    unknown = [f"{name} ({record['reason']})" for name, record in current.items() if "reason" in record]
    if unknown:
        raise TrainerError(
            f"classes of the run in {run.path} may have changed: their source cannot be "
            f"compared: {'; '.join(unknown)}; {RESUME_ANYWAY}"
        )


def accept_changed_plugins(run: RunFolder, config: RunConfig) -> None:
    """Record the current plugins for a resumed run; the earlier ones stay in the record."""
    if not changed_plugins(run, config):
        return
    record = run.read_json(PROVENANCE)
    earlier = [*record.get("earlier_plugins", []), record["plugins"]]
    current = plugins_in_use(entries_in_use(config))
    run.write_json(PROVENANCE, record | {"plugins": current, "earlier_plugins": earlier})


def changed_plugins(run: RunFolder, config: RunConfig) -> list[str]:
    """One text for each plugin whose version or source differs from the record of the run."""
    recorded = run.read_json(PROVENANCE).get("plugins", {})
    if not recorded:  # interrupted before anything was recorded
        return []
    current = plugins_in_use(entries_in_use(config))
    return [
        f"{name} ({_state(recorded.get(name))} -> {_state(current.get(name))})"
        for name in sorted({*recorded, *current})
        if recorded.get(name) != current.get(name)
    ]


def _state(plugin: Mapping[str, Any] | None) -> str:
    if plugin is None:
        return "absent"
    source = plugin["source"] or "source unknown"
    return f"{plugin['version']}, {source}" if plugin["version"] else source


def entries_in_use(config: RunConfig) -> list[Entry]:
    """The registry entries that the configuration names, including those named in options of other plugins."""
    entries = [ref.entry for ref in config.references() if ref.entry is not None]
    # Two unregistered classes may have the same name.
    found = {(e.kind, e.name, None if e.registered else e.target): e for e in entries}
    return list(found.values())


def plugins_in_use(entries: Iterable[Entry]) -> dict[str, dict[str, Any]]:
    """``plugin -> {version, source}`` for the plugins behind these entries; ``source`` is a hash.

    The record of a class that no plugin registered also has its ``place`` and the ``text`` of its source, or
    the ``reason`` why there is none.
    """
    known = {plugin.name: plugin for plugin in discovery.plugins()}
    modules: dict[str, set[str]] = {}
    classes: list[dict[str, Any]] = []
    for entry in entries:
        if not entry.registered:
            classes.append(_class_record(entry))
        elif entry.plugin in known:
            places = {known[entry.plugin].module, entry.target_text.partition(":")[0]}
            modules.setdefault(entry.plugin, set()).update(places)
    plugins = {name: {"version": known[name].version, "source": source_hash(*modules[name])} for name in modules}
    return dict(sorted({**plugins, **_by_place(classes)}.items()))


def _by_place(classes: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The records of classes by place; if one place has several sources, by place and source hash."""
    places: dict[str, dict[str, dict[str, Any]]] = {}
    for record in classes:
        same = places.setdefault(record["place"], {})
        same[record["source"] or f"unknown-{len(same)}"] = record
    return {
        f"python:{place}" if len(same) == 1 else f"python:{place}#{source}": record
        for place, same in places.items()
        for source, record in same.items()
    }


def _class_record(entry: Entry) -> dict[str, Any]:
    source = source_of(entry.load(), kind_of(entry.kind).load_contract())
    record = {"version": "", "source": source.hash, "place": entry.name, "text": source.text}
    return record if source.text is not None else record | {"reason": source.reason}


def source_hash(*modules: str) -> str:
    """SHA-256 (first 16 hex digits) over the Python files of the packages of ``modules``."""
    digest = hashlib.sha256()
    for package in sorted({module.partition(".")[0] for module in modules}):
        for root, file in _python_files(package):
            name = f"{package}/{file.relative_to(root).as_posix()}"
            digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _python_files(package: str) -> Iterator[tuple[Path, Path]]:
    spec = importlib.util.find_spec(package)
    if spec is None:
        return
    roots = [Path(place) for place in spec.submodule_search_locations or ()]
    if not roots and spec.origin is not None:
        yield Path(spec.origin).parent, Path(spec.origin)
    for root in roots:
        for file in sorted(root.rglob("*.py")):
            yield root, file
