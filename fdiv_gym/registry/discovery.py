"""Discovery: loads every entry point of group ``fdiv_gym`` separately and records its status.

The failure of one plugin does not affect the others: it is recorded with its cause on one line. A plugin
whose module is still being imported (the plugin was imported before the core) is deferred and completed
at the first use of the registry. Then the registry is frozen.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import ModuleType

import pluggy

from fdiv_gym.errors import PluginError
from fdiv_gym.registry.distributions import (
    UNKNOWN,
    check_core_version,
    distribution_name,
    distribution_of_core,
    extra_that_brings,
    metadata_of,
    normalised,
)
from fdiv_gym.registry.entry import Entry
from fdiv_gym.registry.hooks import PROJECT, HookSpecs, Registrar
from fdiv_gym.registry.messages import cause_of, shorten
from fdiv_gym.registry.registry import Registry

GROUP = "fdiv_gym"
CORE = "fdiv-gym:core"
BLOCK_VARIABLE = "FDIV_GYM_BLOCK"
UNPARSED = "entry_points.txt"


@dataclass(frozen=True)
class Plugin:
    """The result of loading one entry point.

    Args:
        name: ``distribution:entry-point``.
        distribution: the distribution's name.
        version: the distribution's version.
        module: the module the entry point names.
        status: ``ok``, ``deferred``, ``unavailable(extra)``, ``blocked`` or ``broken``.
        cause: one line: the reason for a status other than ``ok``, or the entries that cannot be used.
        registered: ``kind name`` of everything it registered.
    """

    name: str
    distribution: str
    version: str
    module: str
    status: str
    cause: str = ""
    registered: tuple[str, ...] = ()


class Discovery:
    """Finds, loads and records plugins; owns the registry."""

    def __init__(self) -> None:
        self.registry = Registry(self.complete, self._faults)
        self._plugins: dict[str, Plugin] = {}
        self._deferred: list[importlib.metadata.EntryPoint] = []
        self._lock = threading.RLock()

    def run(self, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> None:
        """Load every entry point of the group: the core, the rest of its distribution, then other distributions.

        With this order an external plugin that reuses a name of fdiv-gym is the one that is refused.
        """
        with self._lock:
            found = self._installed() if entry_points is None else entry_points
            for entry_point in sorted(found, key=_precedence):
                self._load(entry_point)
            if not self._deferred:
                self.registry.freeze()

    def complete(self) -> None:
        """Load the deferred plugins that can now be imported; freeze the registry when none is left."""
        if not self._deferred:
            return
        with self._lock:
            waiting, self._deferred = self._deferred, []
            for entry_point in waiting:
                del self._plugins[plugin_name(entry_point)]
                self._load(entry_point)
            if not self._deferred:
                self.registry.freeze()

    def plugins(self) -> list[Plugin]:
        """Every plugin found, sorted by name."""
        self.complete()
        return [self._plugins[name] for name in sorted(self._plugins)]

    def refuse_broken(self) -> None:
        """Raise PluginError if any plugin is broken (``--strict``)."""
        if broken := self._broken():
            raise PluginError("broken plugins: " + "; ".join(broken))

    def _broken(self) -> list[str]:
        return [f"{p.name}: {p.cause}" for p in self.plugins() if p.status == "broken"]

    def _faults(self) -> str:
        """For the message about an unknown name: a broken plugin may be the one that has it."""
        broken = self._broken()
        more = f" (and {len(broken) - 1} more: fdiv-gym plugins)" if broken[1:] else ""
        return f"; broken plugin {broken[0]}{more}" if broken else ""

    def _installed(self) -> Iterable[importlib.metadata.EntryPoint]:
        """The entry points of the group; a distribution whose ``entry_points.txt`` cannot be parsed is recorded."""
        try:
            return importlib.metadata.entry_points(group=GROUP)
        except Exception:  # one such file fails the call for every distribution
            return self._installed_one_by_one()

    def _installed_one_by_one(self) -> list[importlib.metadata.EntryPoint]:
        found: list[importlib.metadata.EntryPoint] = []
        seen: set[str] = set()
        for dist in importlib.metadata.distributions():
            owner = distribution_name(dist)
            if owner in seen:  # the first on the path counts, as in importlib.metadata
                continue
            if owner != UNKNOWN:
                seen.add(owner)
            try:
                found += [e for e in dist.entry_points if e.group == GROUP]
            except Exception as error:
                name, cause = f"{owner}:{UNPARSED}", f"its {UNPARSED} cannot be parsed: {one_line(error)}"
                self._plugins[name] = Plugin(name, owner, metadata_of(dist, "Version") or "?", "", "broken", cause)
        return found

    def _load(self, entry_point: importlib.metadata.EntryPoint) -> None:
        name = plugin_name(entry_point)
        dist = entry_point.dist
        version = (metadata_of(dist, "Version") if dist else None) or "?"
        # A malformed value has no module; it is refused below.
        module = entry_point.module if _is_valid(entry_point) else entry_point.value
        record = Plugin(name, name.partition(":")[0], version, module, "ok")
        if name in self._plugins:
            self._refuse_namesake(self._plugins[name], module)
            return
        if name != CORE and blocked_by_user(name):
            self._plugins[name] = replace(record, status="blocked", cause=f"named in {BLOCK_VARIABLE}")
            return
        if is_initializing(module):
            self._deferred.append(entry_point)
            self._plugins[name] = replace(record, status="deferred", cause="its module is still being imported")
            return
        try:
            _check_form(entry_point, name)
            check_core_version(dist)
            self._register(entry_point, name)
        except BaseException as error:
            # SystemExit and other exceptions that derive from BaseException count as failed imports;
            # only Ctrl-C is passed on.
            self.registry.discard(name)
            if isinstance(error, KeyboardInterrupt):
                raise
            status, cause = _failure(error, dist)
            self._plugins[name] = replace(record, status=status, cause=cause)
        else:
            self._plugins[name] = self._accounted(record)

    def _register(self, entry_point: importlib.metadata.EntryPoint, name: str) -> None:
        # A separate manager for each entry point: pluggy checks hook names and arguments, and the
        # failure of one plugin does not affect another.
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(HookSpecs)
        module = entry_point.load()
        if not isinstance(module, ModuleType):
            raise PluginError(
                f"the entry point must name a module, but {entry_point.value!r} is a {type(module).__name__}"
            )
        manager.register(module, name=name)
        manager.check_pending()
        manager.hook.fdiv_gym_register(registrar=Registrar(self.registry, name))
        if not self.registry.registered_by(name):
            raise PluginError(
                "it registered nothing: define fdiv_gym_register(registrar) with @fdiv_gym.hookimpl in "
                + entry_point.module
            )

    def _accounted(self, record: Plugin) -> Plugin:
        entries = self.registry.registered_by(record.name)
        registered = tuple(f"{e.kind} {e.name}" for e in entries)
        lacking = [e for e in entries if e.missing()]
        if not lacking:
            return replace(record, registered=registered)
        first = lacking[0]
        cause = f"{first.kind} {first.name} needs {', '.join(first.missing())}: {first.pip_line()}"
        if len(lacking) > 1:
            cause += f" (and {len(lacking) - 1} more)"
        status = first.status if len(lacking) == len(entries) else "ok"
        return replace(record, status=status, cause=cause, registered=registered)

    def _refuse_namesake(self, other: Plugin, module: str) -> None:
        if module == other.module:  # the same distribution, found twice on the path
            return
        cause = f"two entry points are named {other.name}: {other.module} and {module}; neither is used"
        self.registry.discard(other.name)
        self._deferred = [e for e in self._deferred if plugin_name(e) != other.name]
        self._plugins[other.name] = replace(other, status="broken", cause=cause, registered=())


def plugin_name(entry_point: importlib.metadata.EntryPoint) -> str:
    """``distribution:entry-point``."""
    dist = entry_point.dist
    return f"{distribution_name(dist) if dist else UNKNOWN}:{entry_point.name}"


def blocked_by_user(name: str) -> bool:
    """Whether ``FDIV_GYM_BLOCK`` (comma-separated distributions or distribution:entry-point) names the plugin."""
    distribution, _, entry_point = name.partition(":")
    for part in os.environ.get(BLOCK_VARIABLE, "").split(","):
        wanted, _, one = part.strip().partition(":")
        if wanted and normalised(wanted) == distribution and one in ("", entry_point):
            return True
    return False


def is_initializing(module: str) -> bool:
    """Whether the module, or a package around it, is being imported."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        loaded = sys.modules.get(".".join(parts[:length]))
        spec = getattr(loaded, "__spec__", None)
        # fdiv_gym itself is being imported while discovery runs; its own plugin module is not deferred.
        if getattr(spec, "_initializing", False) and parts[0] != "fdiv_gym":
            return True
    return False


def one_line(error: BaseException) -> str:
    """An exception as one line of text."""
    return " ".join(str(error).split()) if isinstance(error, PluginError) else cause_of(error)


def _precedence(entry_point: importlib.metadata.EntryPoint) -> tuple[bool, bool, str]:
    name = plugin_name(entry_point)
    return name != CORE, not name.startswith(CORE.partition(":")[0] + ":"), name


def _failure(error: BaseException, dist: importlib.metadata.Distribution | None) -> tuple[str, str]:
    if isinstance(error, ModuleNotFoundError) and error.name:
        # An extra of the plugin's own distribution, or one of fdiv-gym (a plugin that does not declare torch).
        for owner in (dist, distribution_of_core()):
            extra = extra_that_brings(error.name, owner) if owner is not None else ""
            if owner is not None and extra:
                return f"unavailable({extra})", f"needs {error.name}: pip install '{owner.name}[{extra}]'"
    return "broken", one_line(error)


def _is_valid(entry_point: importlib.metadata.EntryPoint) -> bool:
    return entry_point.pattern.match(entry_point.value) is not None


def _check_form(entry_point: importlib.metadata.EntryPoint, name: str) -> None:
    # Names first: reading the metadata once more for every plugin would slow the import.
    if name.startswith(f"{UNKNOWN}:") and entry_point.dist is not None and not metadata_of(entry_point.dist, "Name"):
        raise PluginError("its distribution has no name: METADATA is absent or damaged; install it again or remove it")
    if not _is_valid(entry_point):
        raise PluginError(f"the entry point must name a module, but its value is {shorten(entry_point.value)}")


discovery = Discovery()


def entry_of(kind: str, name: str) -> Entry:
    """The registry entry of a name (a shorthand for tests and the command line)."""
    return discovery.registry.get(kind, name)
