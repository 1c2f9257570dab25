"""Consent: what a run folder may make this machine do only if the user agrees. A folder may be another person's."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fdiv_gym.errors import ConfigError
from fdiv_gym.registry.messages import printable
from fdiv_gym.registry.options import Options
from fdiv_gym.runs.config import RunConfig

URL = re.compile(r"[\s\x00-\x20]*[A-Za-z][A-Za-z0-9+.:-]*://")
"""The start of a text that is a URL, chained ones of fsspec (``simplecache::https://``) included."""
_IGNORED = str.maketrans("", "", "\t\r\n")  # Python's urllib removes them from a URL, wherever they stand


def require_consent(
    config: RunConfig,
    folder: str | Path,
    *,
    trust_endpoints: bool,
    trust_remote_code: bool,
    given: Sequence[str] = (),
) -> None:
    """Refuse servers and code that a run folder names, unless the user agreed; then name the servers on stderr.

    Args:
        config: the configuration that is about to be used.
        folder: the run folder, for the message.
        trust_endpoints: whether prompts and responses may be sent to the servers.
        trust_remote_code: whether the model's own Python code may run.
        given: servers that the user named, not the folder.

    Raises:
        ConfigError: a server or code of the model without the user's consent.
    """
    if config.model.trust_remote_code and not trust_remote_code:
        raise ConfigError(
            f"the configuration in {folder} runs Python code of the model {config.model.name_or_path!r}: "
            "if you trust its author, give --trust-remote-code"
        )
    servers = [server for server in endpoints(config) if server not in given]
    if not servers:
        return
    named = printable(", ".join(" ".join(server.split()) for server in servers))
    if not trust_endpoints:
        raise ConfigError(
            f"the configuration in {folder} sends prompts and responses to {named}: "
            "if you trust this server, give --trust-endpoints; nothing was sent"
        )
    sys.stderr.write(f"prompts and responses are sent to {named}, named in {printable(str(folder))}\n")


def endpoints(config: RunConfig) -> list[str]:
    """The URLs in a configuration, and the servers that its plugins contact by default; each once."""
    found = list(urls(config.resolved()))
    for reference in config.references():
        options = reference.checked_options
        if isinstance(options, Options):
            found += options.servers_contacted()
    return list(dict.fromkeys(found))


def urls(value: Any) -> Iterator[str]:
    """Every text in nested JSON that is a URL, keys of tables included."""
    if isinstance(value, str):
        if URL.match(value.translate(_IGNORED)):
            yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from urls(key)
            yield from urls(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from urls(item)
