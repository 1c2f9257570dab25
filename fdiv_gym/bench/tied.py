"""``python -I -S tied.py PARENT COMMAND...``: a command that the system kills when the process PARENT ends.

It is a program of its own, and imports little: code between fork and exec is not safe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Of prctl(2). It survives exec."""


def main() -> None:
    """Replace this process by the command."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it ended before
            sys.exit("the process that started the cell has ended")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
