"""Watcher: a small process that ends its parent when work is not done in time. Imports the standard library only.

Each line on its standard input is ``number<TAB>seconds<TAB>label<TAB>work`` when work begins, and ``number`` when it
ends.
"""

import os
import select
import signal
import sys
import time

POLL_S = 30.0


def main() -> None:
    """Watch until the parent closes the pipe, ends, or is ended here."""
    parent = int(sys.argv[1])
    running: dict[str, tuple[float, str, str]] = {}
    rest = b""
    while os.getppid() == parent:
        nearest = min(running.values(), default=None)
        wait = POLL_S if nearest is None else min(POLL_S, max(0.0, nearest[0] - time.monotonic()))
        if select.select([0], [], [], wait)[0]:
            part = os.read(0, 65536)
            if not part:
                break
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                number, *begun = line.decode("utf-8", "replace").split("\t", 3)
                if begun:
                    seconds, label, work = begun
                    running[number] = (time.monotonic() + float(seconds), label, f"{work} takes more than {seconds} s")
                else:
                    running.pop(number, None)
        elif nearest is not None and time.monotonic() >= nearest[0]:
            say(f"{nearest[1]}: {nearest[2]} and cannot be stopped in the process of the run, so the run is ended")
            os.kill(parent, signal.SIGKILL)
            return
    for _, label, work in running.values():
        say(f"{label}: the process of the run ended in the middle of this work: {work.partition(' takes ')[0]}")


def say(text: str) -> None:
    """Write one line to the error stream."""
    os.write(2, text.encode("utf-8", "replace") + b"\n")


if __name__ == "__main__":
    main()
