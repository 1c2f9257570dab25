"""The examples of conversations: each for two steps with a tiny model, and each learns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fdiv_gym.runs.config import load_config
from fdiv_gym.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "conversations"
NAMES = ("escalation", "hints", "mastermind", "nim")
COMPONENTS = {"escalation": {"helpful", "harmful", "over_refusal", "final"}}
TINY = [
    "model.embedded.layers=1", "model.embedded.warm_start_steps=2", "model.embedded.warm_start_batch=4",
    "trainer.steps=2", "trainer.prompts_per_step=2", "trainer.group_size=2", "trainer.evaluate_tasks=4",
    "trainer.evaluate_samples=1",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_it_trains(name, tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    config = load_config(FOLDER / f"{name}.toml", TINY)
    run = RunFolder.create(tmp_path / "run", config.resolved())
    result = config.trainer.build().fit(config, run.path)
    assert (result.status, result.steps) == ("finished", 2)
    lines = run.lines("metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2]
    assert all(line["verdicts/unscored"] == 0 for line in lines)
    assert {f"component/{part}" for part in COMPONENTS.get(name, ())} <= set(lines[0])


def learns(name, seed, tmp_path):
    """Train an example in a process of its own; its summary, and the best of its untrained model, by ways to answer."""
    folder = tmp_path / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads beside other work wait for each other

    def command(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "fdiv_gym", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    command("train", f"examples/conversations/{name}.toml", "--output", str(folder), "--set", f"seed={seed}")
    control = command("eval", str(folder), "--step", "0", "--temperature", "0.1,0.5,1", "--samples", "8", "--json")
    return json.loads((folder / "summary.json").read_text()), json.loads(control)["best"]


def check_learning(name, seed, tmp_path, margins):
    summary, untrained = learns(name, seed, tmp_path)
    before, after = summary["before"], summary["after"]
    for score in ("score/greedy", "score/sampled"):
        assert after[score] - before[score] >= 0.3, (score, before[score], after[score])
    # No temperature of the untrained model, and where there are votes no majority, comes near what training gives.
    for way, margin in margins.items():
        assert after["score/sampled"] - untrained[way]["value"] >= margin, (way, untrained, after)
    return summary


@pytest.mark.full
def test_nim_learns(tmp_path):
    check_learning("nim", 0, tmp_path, {"single": 0.25})


@pytest.mark.full
def test_hints_learn(tmp_path):
    check_learning("hints", 0, tmp_path, {"single": 0.25})


@pytest.mark.slow
@pytest.mark.timeout(1200)  # beside other work
def test_mastermind_learns(tmp_path):
    check_learning("mastermind", 0, tmp_path, {"single": 0.3})


@pytest.mark.full
def test_escalation_learns(tmp_path):
    # A player that looks at the number of the turn only reaches 1.20 (tests/safety/test_escalation.py).
    summary = check_learning("escalation", 0, tmp_path, {"single": 0.3})
    assert summary["after"]["score/greedy"] > 1.2
