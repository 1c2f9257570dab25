"""The demonstration: the README's own configuration teaches the policy to carry, for each of three seeds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def best_untrained(run, environment):
    """The best score of the model that the run started from, over temperatures and by majority."""
    command = [sys.executable, "-m", "fdiv_gym", "eval", str(run), "--step", "0", "--temperature", "0.1,0.5,1"]
    command += ["--samples", "32", "--tasks", "128", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["best"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_policy_learns_what_no_temperature_and_no_vote_gives(tmp_path, cache_folder, seed):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "fdiv_gym", "train", "examples/addition.toml", "--output", str(folder)]
    # One thread: beside any other work, threads that wait for each other take many times as long.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--set", f"seed={seed}"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] <= 150
    assert summary["before"]["score/greedy"] <= 0.40
    assert summary["after"]["score/greedy"] >= 0.95
    assert summary["after"]["score/sampled"] - summary["before"]["score/sampled"] >= 0.35
    control = best_untrained(folder, environment)
    assert max(control["single"]["value"], control["majority"]["value"]) <= 0.65
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    trained = {s["prompt"] for s in samples if s["split"] == "train"}
    assert trained
    assert not trained & {s["prompt"] for s in samples if s["split"] == "heldout"}
