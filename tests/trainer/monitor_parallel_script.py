"""A run with the drift monitor on one or more processes, on planted scores: run by test_parallel.py.

The scores depend on the step, the prompt and the place in the group only, so that one process and two read the same.
"""

import hashlib
import sys
from collections import Counter
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from events_harness import Letters, run

import fdiv_gym as fg

MONITOR = {"name": "drift-monitor", "warmup": 2, "smoothing": 0.5, "threshold": 0.01, "relaxation": 0.5}
SPREAD = (1, 1, 1, 4, 6, 8, 8)
"""Factor of dimension 0 in each step, counted from 0."""
SEEN = []


class Planted(Letters):
    """Components of three dimensions without regard to the response."""

    step = 0

    def score_batch(self, tasks, responses):
        places = Counter()
        verdicts = []
        for task in tasks:
            places[task.prompt] += 1
            drawn = [number(task.prompt, places[task.prompt], Planted.step, d) for d in range(3)]
            drawn[0] *= SPREAD[Planted.step]
            parts = {f"gprl/{d}": value for d, value in enumerate(drawn)}
            parts |= {f"lambda/{d}": 0.5 + d + number(task.prompt) for d in range(3)}
            verdicts.append(fg.Verdict(abs(drawn[1]), fg.Status.SCORED, parts))
        return verdicts


def number(*parts):
    """A number from -0.5 to 0.5 that only depends on the arguments."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big") / 2**32 - 0.5


class Keeps(fg.Callback):
    """Tells the environment the step, and keeps what the monitor set in this process."""

    fatal = True

    def before_rollouts(self, step):
        Planted.step = step

    def before_updates(self, step, groups, controls):
        SEEN.append({"kl_scale": controls.kl_scale, "multipliers": dict(controls.advantage.multipliers)})

    def after_step(self, step, metrics):
        SEEN[-1] |= {name: value for name, value in metrics.items() if name.startswith("drift/")}


def main(output: Path) -> None:
    state = PartialState(cpu=True)
    (folder,) = broadcast_object_list([str(output.with_suffix(""))])
    found = run(
        Path(folder), len(SPREAD) - 1, env={"id": Planted, "isolate": False}, objective="gprl",
        callbacks=[MONITOR, Keeps], prompts_per_step=3, group_size=4, check_plugins=False,
    )  # fmt: skip
    assert not found.error, found.error
    seen = gather_object([SEEN])
    if state.is_main_process:
        torch.save({"processes": state.num_processes, "seen": seen, "lines": found.lines}, output)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
