"""A driver of the Ray executor in a process of its own: ``ray_driver.py FOLDER``, with a Ray that it starts itself."""

import json
import sys

from bench_harness import cells_of
from executors import GRPO

from fdiv_gym.bench.execute import execute
from fdiv_gym.bench.matrix_tables import RunLimits


def cells():
    """A short cell and a longer one."""
    quick = {"base__trainer": {"evaluate_every": 0, "checkpoint_every": 20}, "objectives": [GRPO]}
    return [*cells_of(**quick, seeds=[0]), *cells_of(**quick, seeds=[1], budget={"steps": 200})]


if __name__ == "__main__":
    outcome = execute(cells(), sys.argv[1], RunLimits(executor="ray"), report=lambda line: print(line, flush=True))
    print(json.dumps([outcome.done, outcome.failed, outcome.interrupted]), flush=True)
