"""What is private in the files of a bench: paths, hosts and secrets, replaced before anything is published.

The replacements are the same at every call, so that two values which were equal still are.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATH, HOST, SECRET = "[path]", "host.invalid", "[secret]"
"""What stands for a folder of a machine, for a server that is not public, and for a secret."""

_SIGNS = r"[^\s\"'<>|:;,()\x00-\x1f]"
_ROOT = r"/(?=[\w.~-]+/|(?:home|root|Users|Volumes|tmp|var|mnt|media|opt|srv|usr|etc|data|work|scratch)\b)"
"""A path from the root has two parts or a known first one: ``/no_think`` and ``1 /2`` are none."""
_PATHS = re.compile(
    rf"(?<![\w./\]~:<-])(?:file://)?(?:~[\w.-]*/|{_ROOT}|[A-Za-z]:\\+|\\\\(?=\w))(?:{_SIGNS}*[/\\])*({_SIGNS}*)"
)
_WHOLE = re.compile(rf"(?:file://|~[\w.-]*/|{_ROOT}|[A-Za-z]:\\|\\\\)[^\r\n:'\"]*[\w\])]")
_ENDS = r"[/\\]"
_URLS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>\\]+")
_SECRETS = re.compile(
    r"\b(?:sk-[\w-]{8,}|hf_\w{8,}|gh[opsu]_\w{16,}|github_pat_\w{16,}|xox[a-z]-[\w-]{8,}|AKIA[0-9A-Z]{12,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)|(?<=Bearer )[\w.~+/=-]{8,}"
)
_NAMES = re.compile(
    r"api_?key|secret|passw(?:or)?d|credential|authorization|^token$|(?:hf|access|auth|api|bearer)_?token$"
    r"|(?:access|auth|private)_?key", re.IGNORECASE
)  # fmt: skip
_OF_ENVIRONMENT = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 8
"""Characters of the value of an environment variable that counts as a secret."""
_PRIVATE_ENDS = ("localhost", "local", "lan", "internal", "intranet", "corp", "home", "localdomain", "arpa")


class Redaction:
    """Replaces what is private on this machine and on any other.

    Args:
        folder: of the bench: its own path is private too.
        here: whether the host name, the home folder and the secrets of this machine count; else only what looks private
            on every machine does, so that the result is the same everywhere.
    """

    def __init__(self, folder: Path | None = None, *, here: bool = True) -> None:
        self._secrets: list[str] = []
        self._places: list[str] = []
        self._host: re.Pattern[str] | None = None
        if here:
            self._know_machine(folder)

    def _know_machine(self, folder: Path | None) -> None:
        secrets = {v for k, v in os.environ.items() if _OF_ENVIRONMENT.search(k) and len(v) >= _SHORTEST}
        self._secrets = sorted(secrets, key=len, reverse=True)
        places = [Path.home(), *([folder.resolve(), folder.absolute()] if folder is not None else [])]
        self._places = sorted({str(place) for place in places if len(place.parts) > 1}, key=len, reverse=True)
        host = socket.gethostname()
        self._host = re.compile(rf"(?<![\w-]){re.escape(host)}(?![\w-])") if len(host) > 3 else None

    def text(self, text: str) -> str:
        """A text without what is private in it."""
        for secret in self._secrets:
            text = text.replace(secret, SECRET)
        text = _SECRETS.sub(SECRET, text)
        text = _URLS.sub(lambda found: _url(found.group()), text)
        for place in self._places:
            text = text.replace(place, PATH)
        text = _PATHS.sub(lambda found: f"{PATH}/{found.group(1)}" if found.group(1) else PATH, text)
        return text if self._host is None else self._host.sub(HOST, text)

    def value(self, value: Any) -> Any:
        """Nested JSON values without what is private in them; a text under the name of a secret is one."""
        if isinstance(value, str):  # a path with blanks in it ends where the value ends
            return f"{PATH}/{re.split(_ENDS, value)[-1]}" if _WHOLE.fullmatch(value) else self.text(value)
        if isinstance(value, Mapping):
            return {
                key: SECRET if isinstance(item, str) and item and _NAMES.search(str(key)) else self.value(item)
                for key, item in value.items()
            }
        return [self.value(item) for item in value] if isinstance(value, (list, tuple)) else value

    def is_private(self, text: str) -> bool:
        """Whether a text that must stay as it is, e.g. a response, holds a secret or a place of this machine."""
        known = any(place in text for place in (*self._secrets, *self._places))
        return known or bool(_SECRETS.search(text)) or bool(self._host is not None and self._host.search(text))


def _url(url: str) -> str:
    """A URL without user, query and fragment; with another host where that is not public."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return HOST
    if parts.scheme.lower() == "file":
        return url  # a path
    shown = host if _is_public(host) else HOST
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{parts.path}"


def _is_public(host: str) -> bool:
    end = host.rpartition(".")[2]
    return "." in host and end.isalpha() and end.lower() not in _PRIVATE_ENDS
