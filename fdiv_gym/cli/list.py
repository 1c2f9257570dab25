"""The command ``fdiv-gym list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fdiv_gym.cli.arguments import JsonFlag, OptionalKind
from fdiv_gym.cli.screen import secho, write_json, write_rows

if TYPE_CHECKING:
    from fdiv_gym.registry import Entry


def list_(kind: OptionalKind = None, json_: JsonFlag = False) -> None:
    """List registered names, of one kind or of all.

    Example: fdiv-gym list divergence
    """
    from fdiv_gym.registry import list_entries

    entries = list_entries(kind)
    if json_:
        write_json([entry_record(entry) for entry in entries])
        return
    for heading in dict.fromkeys(entry.kind for entry in entries):
        secho(heading, bold=True)
        write_rows((entry.name, _line(entry)) for entry in entries if entry.kind == heading)


def entry_record(entry: Entry) -> dict[str, Any]:
    """An entry as JSON values."""
    return {
        "kind": entry.kind,
        "name": entry.name,
        "summary": entry.summary,
        "status": entry.status,
        "plugin": entry.plugin,
        "target": entry.target_text,
        "pip": entry.pip_line() if entry.missing() else None,
    }


def _line(entry: Entry) -> str:
    parts = [entry.summary]
    if not entry.plugin.startswith("fdiv-gym:"):
        parts.append(f"({entry.plugin})")
    if entry.blocked:
        parts.append(f"[blocked: {entry.blocked}]")
    elif entry.missing():
        parts.append(f"[{entry.status}: {entry.pip_line()}]")
    return " ".join(part for part in parts if part)
