"""Blueprint: the name and the options from which a plugin is rebuilt in another process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fdiv_gym.errors import PluginError
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.entry import Entry
from fdiv_gym.registry.lookup import get
from fdiv_gym.registry.options import Configurable
from fdiv_gym.registry.reference import PluginRef, references


@dataclass(frozen=True)
class Blueprint:
    """What a worker needs to rebuild a plugin.

    Args:
        kind: kind of the plugin.
        table: its name and its options, as plain JSON.
        entries: its entry and those of all plugins named in its options.
    """

    kind: str
    table: Mapping[str, Any]
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, plugin: Configurable) -> Blueprint:
        """The blueprint of a plugin that ``obstacle`` has no objection to.

        Raises:
            PluginError: one of its options has no JSON form.
        """
        ref: PluginRef[Any] = PluginRef.of(plugin.kind, plugin)
        return cls(plugin.kind, ref.table(), tuple(entry for entry, _ in parts(plugin) if entry is not None))

    @contextmanager
    def built(self) -> Iterator[Any]:
        """The plugin, with its entries in the registry.

        Raises:
            FdivGymError: a plugin is not registered here, or cannot be built.
        """
        with discovery.registry.scoped() as registry:
            for entry in self.entries:
                if entry.name not in registry.names(entry.kind):
                    registry.add(entry)
                elif registry.get(entry.kind, entry.name) != entry:
                    raise PluginError(f"{entry.label} is registered differently in a new process")
            yield get(self.kind, dict(self.table)) if self.kind != "environment" else _environment(self.table)


def _environment(table: Mapping[str, Any]) -> Any:
    from fdiv_gym.envs.registration import make

    options = dict(table)
    return make(options.pop("name"), **options)


def parts(plugin: Configurable) -> Iterator[tuple[Entry | None, bool]]:
    """The entry of a plugin and of every plugin in its options, and whether Python code passed it as an instance."""
    yield plugin.entry, plugin.passed
    for ref in references(plugin.options):
        yield ref.entry, ref.instance is not None


def obstacle(plugin: Configurable) -> str:
    """The reason why a plugin cannot be rebuilt from its name and options; empty if it can be."""
    for entry, passed in parts(plugin):
        if entry is None:
            return f"{plugin.registered_name()!r} was built from its class, not by its name"
        if not entry.registered or not isinstance(entry.target, str):
            return f"{entry.name!r} is a class that no plugin registered"
        if passed:
            return f"{entry.name!r} was passed as an instance"
    try:
        PluginRef.of(plugin.kind, plugin).table()
    except PluginError:
        return f"an option of {plugin.registered_name()!r} has no JSON form"
    return ""
