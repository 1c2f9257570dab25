"""In place of ``fdiv-gym train`` in the tests of executors: ``stand_in.py PLACE FINISHED-RUN``.

The file ``plan`` of the cell's folder has one line for each start, ``finish`` if there is none left; ``starts`` tells
what was started.
"""

import os
import shutil
import signal
import sys
import time


def main() -> None:
    place, prepared = sys.argv[1:]
    run, plan = os.path.join(place, "run"), os.path.join(place, "plan")
    with open(plan, "a+") as file:
        file.seek(0)
        action, *others = file.read().split() or ["finish"]
        file.truncate(0)
        file.write("\n".join(others))

    def save(number: int, frame: object) -> None:
        time.sleep(0.5)
        with open(os.path.join(place, "ended"), "w") as file:
            file.write("saved")
        sys.exit(130)

    signal.signal(signal.SIGTERM, save)
    begun = "resumed" if os.path.exists(os.path.join(run, "config.json")) else "new"
    with open(os.path.join(place, "starts"), "a") as file:
        file.write(f"{os.getpid()} {begun} {action}\n")
    print(f"{action} on {os.environ['OMP_NUM_THREADS']} threads", flush=True)
    if action == "fail":
        sys.exit(1)
    shutil.copytree(prepared, run, dirs_exist_ok=True, ignore=shutil.ignore_patterns("summary.json"))
    if action == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    held = b"\1" * (200 * 2**20) if action == "grow" else b""
    while action in ("wait", "grow") and not os.path.exists(os.path.join(place, "go")):
        time.sleep(0.02)
    if action != "nothing" and not held:
        shutil.copy(os.path.join(prepared, "summary.json"), run)


if __name__ == "__main__":
    main()
