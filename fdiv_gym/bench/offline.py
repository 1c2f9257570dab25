"""No network while a bundle of others is checked: whatever it names, nothing is asked and nothing is sent."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

_EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
_state = {"installed": False, "depth": 0}


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Refuse connections of this process to other machines while the block runs; local sockets are not concerned.

    A refused call raises PermissionError, an OSError, which libraries take for a network that is down.
    """
    if not _state["installed"]:  # an audit hook stays for ever
        sys.addaudithook(_refuse)
        _state["installed"] = True
    _state["depth"] += 1
    try:
        yield
    finally:
        _state["depth"] -= 1


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if not _state["depth"] or event not in _EVENTS:
        return
    address = arguments[1] if event.startswith(("socket.connect", "socket.send")) and len(arguments) > 1 else ("",)
    if not isinstance(address, tuple):  # a socket of this machine, or one that is connected
        return
    raise PermissionError("no connection is made while a bundle is verified")
