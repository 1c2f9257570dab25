"""The first run, three seeds: `fdiv-gym train examples/addition.toml`, warm start included.

python benchmarks/first_run.py [SEED ...]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "first_run.md"


def run(seed: int) -> dict[str, float]:
    """Train from an empty cache; wall-clock seconds include start-up and the warm start."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "fdiv_gym.cli", "train", "examples/addition.toml"]
        command += ["--output", f"{folder}/run", "--set", f"seed={seed}"]
        begun = time.monotonic()
        environment = {**os.environ, "FDIV_GYM_CACHE": f"{folder}/cache"}
        subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
        return {"seed": seed, "wall": time.monotonic() - begun, **summary}


def main() -> None:
    """Run the seeds one after the other and write the table."""
    seeds = [int(s) for s in sys.argv[1:]] or [0, 1, 2]
    lines = [
        "# The first run",
        "",
        "`python benchmarks/first_run.py`: two CPU cores, empty cache, warm start included.",
        "",
    ]
    lines += [
        "| seed | sampled before | after | change | greedy before | after | wall-clock s |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed in seeds:
        result = run(seed)
        before, after = result["before"], result["after"]
        lines.append(
            f"| {seed} | {before['accuracy_sampled']:.3f} | {after['accuracy_sampled']:.3f} "
            f"| {after['accuracy_sampled'] - before['accuracy_sampled']:+.3f} | {before['accuracy_greedy']:.3f} "
            f"| {after['accuracy_greedy']:.3f} | {result['wall']:.0f} |"
        )
        print(lines[-1], flush=True)
    RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
