"""Cost of scoring a batch in a process of its own, against scoring it here; the two alternate in one run.

    python benchmarks/isolation.py

The scorer is that of `math/Addition-v0`, which takes a few microseconds for a response. A third side scores an instance
passed from Python, in this process under the watchdog.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import fdiv_gym as fg
from fdiv_gym.registry import close_plugin
from fdiv_gym.rollouts import score_checked
from fdiv_gym_math.addition import Addition

RESULT = Path(__file__).parent / "results" / "isolation.md"
SIZES = (8, 64, 512)
BATCHES = 200
STARTS = 5


def seconds(env: fg.TextEnv, size: int) -> float:
    """Wall-clock time of one batch."""
    tasks = [env.task_list("train")[i] for i in range(size)]
    responses = [task.answer or "" for task in tasks]
    begun = time.perf_counter()
    verdicts = score_checked(env, tasks, responses)
    elapsed = time.perf_counter() - begun
    assert all(verdict.score == 1.0 for verdict in verdicts)
    return elapsed


def start_seconds() -> float:
    """Wall-clock time of the first batch of an isolated environment: the start of its worker."""
    env = fg.make("math/Addition-v0", isolate=True)
    env.task_list("train")
    elapsed = seconds(env, 1)
    close_plugin(env)
    return elapsed


def table() -> list[str]:
    """The rows: one for each size of a batch."""
    sides = [fg.make("math/Addition-v0"), Addition(), fg.make("math/Addition-v0", isolate=True)]
    rows = ["| responses | in process, ms | under the watchdog, ms | isolated, ms | isolation adds, ms |"]
    rows += ["|---|---|---|---|---|"]
    for size in SIZES:
        times: list[list[float]] = [[], [], []]
        for batch in range(-5, BATCHES):
            for env, found in zip(sides, times, strict=True):
                elapsed = seconds(env, size)
                if batch >= 0:  # the first ones warm up
                    found.append(1000 * elapsed)
        here, watched, isolated = (statistics.median(found) for found in times)
        rows.append(f"| {size} | {here:.3f} | {watched:.3f} | {isolated:.3f} | {isolated - here:.3f} |")
    for env in sides:
        close_plugin(env)
    return rows


def main() -> None:
    """Measure, print and write the table."""
    starts = sorted(start_seconds() for _ in range(STARTS))
    lines = ["# Isolated scoring", ""]
    lines += [
        f"`python benchmarks/isolation.py`: scorer of `math/Addition-v0`, median of {BATCHES} batches, two CPU cores. "
        f"The first batch of a run also starts the worker: {statistics.median(starts):.2f} s "
        f"(median of {STARTS}; {starts[0]:.2f} to {starts[-1]:.2f}); it imports no torch for this plugin.",
        "",
    ]
    lines += table()
    RESULT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
