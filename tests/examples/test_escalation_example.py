"""examples/conversations/escalation.toml: two steps with a tiny model, and what it learns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fdiv_gym.runs.config import load_config
from fdiv_gym.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "conversations" / "escalation.toml"
TINY = [
    "model.embedded.layers=1", "model.embedded.warm_start_steps=2", "model.embedded.warm_start_batch=4",
    "trainer.steps=2", "trainer.prompts_per_step=2", "trainer.group_size=2", "trainer.evaluate_tasks=4",
    "trainer.evaluate_samples=1",
]  # fmt: skip


def test_it_trains(tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    config = load_config(EXAMPLE, TINY)
    run = RunFolder.create(tmp_path / "run", config.resolved())
    result = config.trainer.build().fit(config, run.path)
    assert (result.status, result.steps) == ("finished", 2)
    lines = run.lines("metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2]
    assert all(line["verdicts/unscored"] == 0 for line in lines)
    assert {"component/helpful", "component/harmful", "component/over_refusal", "component/final"} <= set(lines[0])


def command(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads beside other work wait for each other
    done = subprocess.run(
        [sys.executable, "-m", "fdiv_gym", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
def test_it_learns(tmp_path):
    folder = str(tmp_path / "run")
    # What it learns is told by the example itself: when to refuse, not yet to read whose thing it is.
    command("train", "examples/conversations/escalation.toml", "--output", folder)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    before, after = summary["before"], summary["after"]
    for score in ("score/greedy", "score/sampled"):
        assert after[score] - before[score] >= 0.3, (score, before[score], after[score])
    control = command("eval", folder, "--step", "0", "--temperature", "0.1,0.5,1", "--samples", "8", "--json")
    untrained = json.loads(control)["best"]
    for way in ("single", "majority"):
        assert after["score/sampled"] - untrained[way]["value"] >= 0.3, (way, untrained, after)
