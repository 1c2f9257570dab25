"""Keys of servers, bound to hosts by a file of the user: a configuration can name a server, never a key."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fdiv_gym.errors import ConfigError

DEFAULT_URL = "https://api.openai.com/v1"
DEFAULT_HOST = "api.openai.com"
DEFAULT_VARIABLE = "OPENAI_API_KEY"
BASE_URL = re.compile(
    r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
    r"(?:/[A-Za-z0-9._~%/-]*)?"
)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def keys_file() -> Path:
    """``FDIV_GYM_KEYS``, or ``fdiv-gym/keys.toml`` in the user's configuration folder."""
    chosen = os.environ.get("FDIV_GYM_KEYS")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "fdiv-gym" / "keys.toml"


def key_for(url: str) -> str:
    """The key for the server at ``url``: its host's entry in the user's file, ``OPENAI_API_KEY`` for OpenAI, or "".

    An entry ``"host"`` or ``"host:port"`` is for https, and for http on this machine; an entry ``"http://host:port"``
    is for http elsewhere.

    Raises:
        ConfigError: the file cannot be read, is wrong, or holds keys that other users can read.
    """
    parsed = urlsplit(url)
    host = (parsed.hostname or "").lower()
    usual = {"http": 80, "https": 443}[parsed.scheme]
    place = host if parsed.port in (None, usual) else f"{host}:{parsed.port}"
    secure = parsed.scheme == "https" or is_loopback(url)
    name = place if secure else f"{parsed.scheme}://{place}"
    entries = _entries()
    if name in entries:
        return _value(entries[name])
    if name == DEFAULT_HOST:
        return os.environ.get(DEFAULT_VARIABLE, "")
    return ""


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _entries() -> dict[str, dict[str, Any]]:
    path = keys_file()
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file of keys {path} cannot be read: {type(error).__name__}") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # its message may repeat a part of a key
        raise ConfigError(f"the file of keys {path} is not valid TOML") from None
    for name, entry in table.items():
        if not isinstance(entry, dict) or set(entry) not in ({"key"}, {"env"}) or not _is_text(*entry.values()):
            raise ConfigError(
                f"the file of keys {path}: the entry of {name!r} must be a table with either key or env, e.g. "
                f"[{DEFAULT_HOST!r}] and below it env = {DEFAULT_VARIABLE!r}"
            )
        if "key" in entry and os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise ConfigError(f"the file of keys {path} can be read by other users: chmod 600 {path}")
    return {name.lower(): entry for name, entry in table.items()}


def _value(entry: dict[str, Any]) -> str:
    if "key" in entry:
        return str(entry["key"])
    if not VARIABLE.fullmatch(entry["env"]):
        raise ConfigError(
            f"the file of keys {keys_file()}: env must be the NAME of an environment variable, e.g. {DEFAULT_VARIABLE} "
            "(what was given is not shown, in case it is a key)"
        )
    return os.environ.get(entry["env"], "")


def _is_text(*values: object) -> bool:
    return all(isinstance(value, str) and value for value in values)
