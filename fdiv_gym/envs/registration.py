"""Registration of environments in gymnasium's registry.

gymnasium only warns about a duplicate id and overwrites it, so a duplicate is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.envs.registration import registry as gymnasium_registry

from fdiv_gym.errors import ConfigError, EnvError, PluginError
from fdiv_gym.registry.entry import Entry
from fdiv_gym.registry.lookup import entry_named, get

if TYPE_CHECKING:
    from fdiv_gym.envs.base import Environment

ENV_ID = re.compile(r"[\w.-]+/[\w.-]+-v\d+")


def register(entry: Entry) -> None:
    """Register an environment with gymnasium.

    Raises:
        PluginError: the id is not ``namespace/Name-vN`` or is already registered with gymnasium.
    """
    if not ENV_ID.fullmatch(entry.name):
        raise PluginError(f"environment id {entry.name!r} must read 'namespace/Name-vN', e.g. 'math/Addition-v0'")
    if entry.name in gymnasium_registry:
        spec = gymnasium_registry[entry.name]
        raise PluginError(
            f"environment {entry.name!r} is already in gymnasium's registry ({spec.entry_point}); "
            f"plugin {entry.plugin} must choose another id"
        )
    # order_enforce and the passive checker wrap the environment and hide score_batch.
    gymnasium.register(
        id=entry.name,
        entry_point=_Creator(entry),
        kwargs=dict(entry.options),
        order_enforce=False,
        disable_env_checker=True,
    )


def unregister(entry: Entry) -> None:
    """Remove an environment from gymnasium's registry."""
    gymnasium_registry.pop(entry.name, None)


def new_name(name: str) -> tuple[str, str, str]:
    """The names for ``fdiv-gym new``: the id, and the stems of the names of the package and the class.

    ``words`` gives ``words/Words-v0``, ``words-Words`` and ``Words``; a complete id stays unchanged.

    Raises:
        ConfigError: the id would not read ``namespace/Name-vN``.
    """
    if "/" not in name:
        title = "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))
        name = f"{name}/{title}-v0"
    if not ENV_ID.fullmatch(name):
        raise ConfigError(f"an environment must be named namespace/Name-v0, got {name!r}")
    namespace, _, title = re.sub(r"-v\d+$", "", name).partition("/")
    return name, f"{namespace}-{title}", title


def make(spec: str | Mapping[str, Any] | type[Environment] | Environment, **options: Any) -> Environment:
    """Build an environment.

    Args:
        spec: a registered id (then this is ``gymnasium.make(spec, **options).unwrapped`` with better errors), a
            table with the id as its ``name``, or a subclass of Environment, which needs no registration.
        options: options of the environment.

    Raises:
        UnknownNameError: no plugin registered that id; the message names the closest.
        ConfigError: an option is unknown or wrong, or the name is the record of an unregistered class.
        MissingExtraError: the environment needs a package that is not installed.
        PluginError: the environment's constructor failed.
    """
    if isinstance(spec, str):
        entry_named("environment", spec)
        env: Any = gymnasium.make(spec, **options).unwrapped
    else:
        env = get("environment", spec, **options)
    return env  # type: ignore[no-any-return]


get_environment = make


class _Creator:
    """The factory that gymnasium calls; a class, so that specs can be pickled and have a readable repr."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def __call__(self, **options: Any) -> Environment:
        render_mode = options.pop("render_mode", None)
        if render_mode is not None:
            raise EnvError(
                f"environment {self.entry.name!r} is a text environment: it has no render mode {render_mode!r}"
            )
        env: Environment = self.entry.build(options)
        return env

    def __repr__(self) -> str:
        return f"{self.entry.plugin} -> {self.entry.target_text}"
