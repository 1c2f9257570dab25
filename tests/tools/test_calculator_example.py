"""`examples/conversations/tools_calculator.toml`: for two steps with a tiny model, and the whole run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fdiv_gym.runs.config import load_config
from fdiv_gym.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "conversations" / "tools_calculator.toml"
TINY = [
    "model.embedded.layers=1", "model.embedded.warm_start_steps=2", "model.embedded.warm_start_batch=4",
    "trainer.steps=2", "trainer.prompts_per_step=2", "trainer.group_size=2", "trainer.evaluate_tasks=4",
    "trainer.evaluate_samples=1", "env.train_tasks=50", "env.heldout_tasks=10",
]  # fmt: skip


@pytest.mark.slow
def test_it_trains(tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    config = load_config(EXAMPLE, TINY)
    RunFolder.create(tmp_path / "run", config.resolved())
    result = config.trainer.build().fit(config, tmp_path / "run", resume=False)
    assert (result.status, result.steps) == ("finished", 2)
    lines = RunFolder(result.folder).lines("metrics.jsonl")
    assert all(line["verdicts/unscored"] == 0 for line in lines)


def command(environment, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "fdiv_gym", *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
def test_the_policy_learns_to_call_the_tool_rightly(tmp_path, cache_folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    folder = tmp_path / "run"
    command(environment, "train", EXAMPLE, "--output", folder)
    summary = json.loads((folder / "summary.json").read_text())
    for kind in ("score/greedy", "score/sampled"):
        assert summary["after"][kind] - summary["before"][kind] >= 0.3
    options = ("--temperature", "0.1,0.5,1", "--samples", "16", "--tasks", "64", "--json")
    untrained = json.loads(command(environment, "eval", folder, "--step", "0", *options))["best"]
    for way in ("single", "majority"):
        assert summary["after"]["score/greedy"] - untrained[way]["value"] >= 0.3
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    trained = {s["prompt"] for s in samples if s["split"] == "train"}
    assert trained
    assert not trained & {s["prompt"] for s in samples if s["split"] == "heldout"}
