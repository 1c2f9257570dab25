"""The registry: one dictionary for all kinds of plugins, which discovery fills and freezes.

An entry holds an import string, so nothing is imported before it is used. Dispatch is a dictionary
look-up; plugin hooks are called once, at discovery, never in a training step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fdiv_gym.errors import PluginError, UnknownNameError, did_you_mean
from fdiv_gym.registry.entry import Entry
from fdiv_gym.registry.kinds import KINDS, kind_of


class Registry:
    """Entries by kind and name.

    Args:
        before_use: called before every look-up (it completes deferred plugins).
        faults: what is wrong with plugins that could not be loaded, to add to the message about an unknown name.
    """

    def __init__(self, before_use: Callable[[], None] | None = None, faults: Callable[[], str] | None = None) -> None:
        self._entries: dict[str, dict[str, Entry]] = {}
        self._frozen = False
        self._before_use = before_use or (lambda: None)
        self._faults = faults or (lambda: "")

    def add(self, entry: Entry) -> None:
        """Add an entry.

        Raises:
            PluginError: unknown kind, a frozen registry, or a name already registered (the message names both plugins).
        """
        if entry.kind not in KINDS:
            raise PluginError(f"plugin {entry.plugin}: unknown kind {entry.kind!r} ({did_you_mean(entry.kind, KINDS)})")
        if self._frozen:
            raise PluginError(
                f"the registry is frozen: plugin {entry.plugin} cannot add {entry.kind} {entry.name!r} now; "
                "register it from an entry point of group 'fdiv_gym', or use registry.scoped() in a test"
            )
        known = self._entries.setdefault(entry.kind, {})
        taken = known.get(entry.name)
        if taken is not None:
            raise PluginError(
                f"{entry.kind} {entry.name!r} is registered twice: by {taken.plugin} ({taken.target_text}) "
                f"and by {entry.plugin} ({entry.target_text})"
            )
        external = kind_of(entry.kind).load_external_registry()
        if external is not None:
            external.register(entry)
        known[entry.name] = entry

    def discard(self, plugin: str) -> None:
        """Remove everything that ``plugin`` registered, e.g. after a failure half-way."""
        for entry in self.registered_by(plugin):
            del self._entries[entry.kind][entry.name]
            _unregister(entry)

    def freeze(self) -> None:
        """Refuse every later ``add``."""
        self._frozen = True

    def get(self, kind: str, name: str) -> Entry:
        """The entry of that name.

        Raises:
            UnknownNameError: no such kind or name; the message names the closest.
        """
        self._before_use()
        known = self._entries.get(kind_of(kind).name, {})
        try:
            return known[name]
        except KeyError:
            raise UnknownNameError(
                f"unknown {kind} {name!r} ({did_you_mean(str(name), known)}){self._faults()}"
            ) from None

    def entries(self, kind: str | None = None) -> list[Entry]:
        """All entries (of one kind), sorted by kind and name."""
        self._before_use()
        kinds = list(KINDS) if kind is None else [kind_of(kind).name]
        return [known[name] for k in kinds for known in [self._entries.get(k, {})] for name in sorted(known)]

    def names(self, kind: str) -> list[str]:
        """The registered names of one kind, sorted."""
        return [entry.name for entry in self.entries(kind)]

    def registered_by(self, plugin: str) -> list[Entry]:
        """The entries of one plugin; does not complete deferred plugins."""
        return [e for names in self._entries.values() for e in names.values() if e.plugin == plugin]

    @contextlib.contextmanager
    def scoped(self) -> Iterator[Registry]:
        """Open the registry temporarily and restore it afterwards, for tests and notebooks."""
        self._before_use()
        saved, frozen = {kind: dict(names) for kind, names in self._entries.items()}, self._frozen
        self._frozen = False
        try:
            yield self
        finally:
            added = [e for k, names in self._entries.items() for n, e in names.items() if _at(saved, k, n) is not e]
            self._entries, self._frozen = saved, frozen
            for entry in added:
                _unregister(entry)

    def load(self, kind: str, name: str) -> type[Any]:
        """The class registered under ``name``; the class stores that name for its messages."""
        return self.get(kind, name).load()


def _at(entries: Mapping[str, Mapping[str, Entry]], kind: str, name: str) -> Entry | None:
    return entries.get(kind, {}).get(name)


def _unregister(entry: Entry) -> None:
    kind = KINDS.get(entry.kind)  # a test may have removed the kind
    external = kind.load_external_registry() if kind is not None else None
    if external is not None:
        external.unregister(entry)
