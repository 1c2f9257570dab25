"""New Python processes for plugin code: they import what the caller can import, and run nothing of its ``__main__``."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor


def start_python(
    code: str, arguments: Sequence[object] = (), fds: Sequence[int] = (), *, output: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start ``python -c code`` in a session of its own, so that Ctrl-C in a terminal does not reach it.

    A process that Linux ends with its parent (``PR_SET_PDEATHSIG``) ends with the thread that started it. So one that
    is asked for in another thread than the main one is started from a thread that lives as long as this process.

    Args:
        code: the program.
        arguments: its ``sys.argv[1:]``.
        fds: file descriptors that it inherits.
        output: descriptor for its stdout and stderr.

    Raises:
        OSError: the process cannot be started.
    """
    environment = dict(os.environ)
    # The same places to import from as this process, and no others: no user site, no working directory.
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    environment["PYTHONSAFEPATH"] = "1"

    def started() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(fds),
            env=environment,
            start_new_session=True,
        )

    if threading.current_thread() is threading.main_thread():
        return started()
    return _starters.setdefault(os.getpid(), ThreadPoolExecutor(1, "starter")).submit(started).result()


_starters: dict[int, ThreadPoolExecutor] = {}
"""The thread that starts processes, by the id of this process: a forked one has none of its parent's threads."""
