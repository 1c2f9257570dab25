"""Exit: ``os._exit`` of a plugin that runs in this process is no success, and says who called it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

from fdiv_gym.registry.messages import printable


@contextlib.contextmanager
def exit_is_no_success(label: str) -> Iterator[None]:
    """Inside ``with``, ``os._exit(0)`` of this process says who called it, and its status is 1.

    Several threads may be inside; the last one to leave restores the function.
    """
    owner = os.getpid()

    def named(status: int) -> None:
        if os.getpid() == owner:  # a forked process of the plugin ends by this function rightly
            names = ", ".join(dict.fromkeys(_running))
            os.write(2, printable(f"{names} called os._exit({status}): the run ends here\n").encode())
            status = status or 1
        _LEAVE(status)

    with _patching:
        _running.append(label)
        os._exit = named  # type: ignore[assignment]
    try:
        yield
    finally:
        with _patching:
            _running.remove(label)
            if not _running:
                os._exit = _LEAVE


_LEAVE: Any = os._exit
_running: list[str] = []
"""The plugins that run in this process now."""
_patching = threading.Lock()
