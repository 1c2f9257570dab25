"""Random kills of runs, planted faults of scorers, and minutes of load.

Run ``make soak``, or ``python benchmarks/reliability.py`` from the root of the repository; it prints the tables of
``benchmarks/results/reliability.md``. ``--kills``, ``--verdicts`` and ``--minutes`` shorten it; 0 leaves a part out.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil
import torch
from reliability_kills import KINDS, SMALL, Server, kill_runs
from reliability_verdicts import FAULTS, ROLES, plant

EVERY_S = 2.0


def kills(count: int, steps: int, seed: int) -> bool:
    """Print the table of the kills; whether every file was equal."""
    print(f"## Kills\n\n{count} kills (SIGKILL) at random moments, runs of {steps} steps, seed {seed}.\n")
    print("| kind of run | kills | runs | files that differ |\n|---|---|---|---|", flush=True)
    fine = True
    for i, kind in enumerate(KINDS):
        share = count // len(KINDS) + (i < count % len(KINDS))
        with tempfile.TemporaryDirectory() as work:
            outcome = kill_runs(kind, share, steps, Path(work), random.Random(f"{seed} {kind}"))
        fine &= not outcome.differing
        print(f"| {kind} | {outcome.kills} | {outcome.runs} | {', '.join(outcome.differing) or 'none'} |", flush=True)
    return fine


def verdicts(count: int, seed: int) -> bool:
    """Print the table of the planted faults; whether none became a score."""
    outcomes, wrong = plant(count, random.Random(seed))
    print(f"\n## Faults of scorers\n\n{count} planted faults of {len(FAULTS)} kinds, seed {seed}.\n")
    print("| fault in | named error | verdict without score | anything else |\n|---|---|---|---|")
    for role in ROLES:
        others = sum(text.startswith(role) for text in wrong)
        print(f"| {role} | {outcomes[role, 'named error']} | {outcomes[role, 'verdict without score']} | {others} |")
    for text in wrong[:20]:
        print(f"- {text}")
    return not wrong


def load(minutes: float) -> bool:
    """Print the table of memory, files and threads of runs that go on; whether they stayed within bounds."""
    print(f"\n## Load\n\n{minutes:g} minutes of steady steps, measured every {EVERY_S:g} s; medians over the second")
    print("and the last quarter.\n")
    print("| kind of run | steps | memory, MB | open files | threads |\n|---|---|---|---|---|", flush=True)
    fine = True
    kinds = ("f-grpo on additions", "judge on a server")
    for kind in kinds:
        measures, steps = _measured(kind, 60 * minutes / len(kinds))
        quarter = max(1, len(measures) // 4)
        pairs = [
            (median(m[i] for m in measures[quarter : 2 * quarter]), median(m[i] for m in measures[-quarter:]))
            for i in range(3)
        ]
        grown = [end - start for start, end in pairs]
        fine &= grown[0] <= 0.1 * pairs[0][0] and grown[1] <= 2 and grown[2] <= 2
        shown = " | ".join(f"{start:.0f} to {end:.0f}" for start, end in pairs)
        print(f"| {kind} | {steps} | {shown} |", flush=True)
    return fine


def _measured(kind: str, seconds: float) -> tuple[list[tuple[float, float, float]], int]:
    """Memory in MB, open files and threads of a run over so many seconds of steps, and the number of its steps."""
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        work = Path(folder)
        (work / "run.toml").write_text(
            SMALL.format(steps=10_000_000).replace("evaluate_every = 5", "evaluate_every = 0").replace(
                "checkpoint_every = 2", "checkpoint_every = 50"
            )
            + KINDS[kind].replace("{server}", server.address)
        )  # fmt: skip
        environment = {**os.environ, "FDIV_GYM_CACHE": str(work / "cache"), "FDIV_GYM_QUIET": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "fdiv_gym", "train", str(work / "run.toml"), "--output", str(work / "run")],
            env=environment, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            watched, metrics = psutil.Process(process.pid), work / "run" / "metrics.jsonl"
            while not metrics.exists() and process.poll() is None:
                time.sleep(0.2)
            end, measures = time.monotonic() + seconds, []
            while time.monotonic() < end and process.poll() is None:
                time.sleep(min(EVERY_S, seconds / 8))
                with watched.oneshot():
                    measures.append((watched.memory_info().rss / 1e6, watched.num_fds(), watched.num_threads()))
            if process.poll() is not None:
                raise RuntimeError(f"the run ended with status {process.returncode}")
            return measures, len(metrics.read_text("utf-8").splitlines())
        finally:
            process.kill()
            process.wait()


def main() -> None:
    """Run the three parts; status 1 if one of them found something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--steps", type=int, default=12, help="of each killed run")
    parser.add_argument("--verdicts", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print("# Reliability\n")
    print(f"`python benchmarks/reliability.py {' '.join(sys.argv[1:])}`".replace(" `", "`"))
    print(f"\nPython {platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} CPU cores.\n", flush=True)
    fine = [
        not chosen.kills or kills(chosen.kills, chosen.steps, chosen.seed),
        not chosen.verdicts or verdicts(chosen.verdicts, chosen.seed),
        not chosen.minutes or load(chosen.minutes),
    ]
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    main()
