"""Runs in processes of their own, for the tests of run folders and signals."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from fdiv_gym.runs import RunFolder

CONFIG = """
[env]
id = "math/Addition-v0"
digits = 1
[model.embedded]
layers = 1
heads = 1
head_dim = 32
warm_start_steps = 30
warm_start_batch = 32
[engine]
max_new_tokens = 4
[trainer]
steps = 100000
prompts_per_step = 4
group_size = 4
evaluate_tasks = 4
evaluate_every = 0
checkpoint_every = 2
"""

COMMAND = [sys.executable, "-m", "fdiv_gym"]


def config_file(folder: Path, more: str = "") -> Path:
    """A run file of a run that nobody finishes, unless ``--set trainer.steps`` says so."""
    path = folder / "run.toml"
    path.write_text(CONFIG + more)
    return path


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """``fdiv-gym ARGUMENTS``, not waited for; its standard output has the lines of progress."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def finish(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """``fdiv-gym ARGUMENTS`` to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip


def wait_for_steps(folder: Path, steps: int, process: subprocess.Popen[str]) -> None:
    """Return when the run has recorded so many steps."""
    deadline = time.monotonic() + 300
    while len(RunFolder(folder).lines("metrics.jsonl")) < steps:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run records no steps"
        time.sleep(0.05)


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process, as a machine that fails does."""
    process.kill()
    process.communicate()
