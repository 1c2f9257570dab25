"""New Python processes for plugin code: they import what the caller can import, and run nothing of its ``__main__``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence


def start_python(
    code: str, arguments: Sequence[object] = (), fds: Sequence[int] = (), *, output: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start ``python -c code`` in a session of its own, so that Ctrl-C in a terminal does not reach it.

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
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=tuple(fds),
        env=environment,
        start_new_session=True,
    )
