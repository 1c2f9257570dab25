"""The command ``fdiv-gym plugins``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from fdiv_gym.cli.arguments import JsonFlag
from fdiv_gym.cli.screen import secho, write, write_json

if TYPE_CHECKING:
    from fdiv_gym.registry import Plugin

COLOURS = {"ok": typer.colors.GREEN, "broken": typer.colors.RED}


def plugins(json_: JsonFlag = False) -> None:
    """Show every plugin found: its version, its status, its registered names, and its fault if it has one.

    Example: fdiv-gym plugins
    """
    from fdiv_gym.registry import list_plugins

    found = list_plugins()
    if json_:
        write_json([asdict(plugin) for plugin in found])
        return
    for plugin in found:
        _show(plugin)
    bad = sum(plugin.status == "broken" for plugin in found)
    write(f"{len(found)} plugins, {bad} broken" if bad else f"{len(found)} plugins")


def _show(plugin: Plugin) -> None:
    secho(f"{plugin.name} {plugin.version}  ", bold=True, nl=False)
    secho(plugin.status, fg=COLOURS.get(plugin.status, typer.colors.YELLOW))
    if plugin.cause:
        write(plugin.cause, indent=4)
    kinds: dict[str, list[str]] = {}
    for line in plugin.registered:
        kind, _, name = line.partition(" ")
        kinds.setdefault(kind, []).append(name)
    for kind, names in kinds.items():
        write(f"{kind}: {', '.join(names)}", indent=4, hanging=8)
