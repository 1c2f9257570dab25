"""A judge named inside other options: checked when the configuration is read, built when it is used."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from fdiv_gym.catalogue import split_spec
from fdiv_gym.discovery import discovery
from fdiv_gym.options import build_options


def check_spec(value: Any) -> Any:
    """Refuse an unknown judge or a wrong option now, before anything is loaded.

    Raises:
        ConfigError: an option is unknown or wrong.
        UnknownNameError: no plugin registered that judge.
    """
    name, options = split_spec("judge", value)
    entry = discovery.registry.get("judge", name)
    checked = build_options(entry.load().Options, {**entry.options, **options}, f"judge {name!r}")
    return {"name": name, **checked.model_dump(mode="json")}


#: A registered name or a table ``{"name": ..., **options}``; stored as the full table.
JudgeSpec = Annotated[str | dict[str, Any], pydantic.BeforeValidator(check_spec)]


def spec_name(spec: str | dict[str, Any]) -> str:
    """The registered name in a specification."""
    return spec if isinstance(spec, str) else str(spec["name"])
