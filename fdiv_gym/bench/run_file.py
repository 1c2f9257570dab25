"""The TOML text of a run configuration, so that ``fdiv-gym train`` can run a cell by hand."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from fdiv_gym.errors import ConfigError
from fdiv_gym.registry.messages import is_unicode, shorten

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(values: Mapping[str, Any]) -> str:
    """The values as TOML that reads back as they are: tables at the top with a header, deeper ones inline.

    Raises:
        ConfigError: a value that TOML has no form for, such as None.
    """
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    parts = [f"{_key(key)} = {_value(value)}\n" for key, value in plain.items()]
    for key, table in values.items():
        if isinstance(table, Mapping):
            parts.append(f"\n[{_key(key)}]\n")
            parts += [f"{_key(name)} = {_value(value)}\n" for name, value in table.items()]
    return "".join(parts)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    if not is_unicode(text):
        raise ConfigError(f"{shorten(text)} is not Unicode text")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise ConfigError(f"{shorten(value)} cannot be written to a TOML file")
