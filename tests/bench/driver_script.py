"""A driver in a process of its own: ``driver_script.py FOLDER PROCESSES JSON-of-changes``."""

import json
import sys

from bench_harness import cells_of

from fdiv_gym.bench import run_cells

if __name__ == "__main__":
    folder, processes, changes = sys.argv[1:]
    outcome = run_cells(
        cells_of(**json.loads(changes)),
        folder,
        processes=int(processes),
        cores=2,
        report=lambda t: print(t, flush=True),
    )
    print(json.dumps([outcome.done, outcome.failed, outcome.interrupted]), flush=True)
