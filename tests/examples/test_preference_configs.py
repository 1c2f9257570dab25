"""The example of each objective that reads preferences, for two steps with a tiny model; kldo's average resumes."""

import math
import shutil
from pathlib import Path

import pytest

import fdiv_gym as fg
from fdiv_gym.runs.config import load_config
from fdiv_gym.runs.folder import RunFolder

FOLDER = Path(__file__).parents[2] / "examples" / "objectives"
EXAMPLES = [p.name for p in sorted(FOLDER.glob("*.toml")) if "preferences" in fg.get_objective(p.stem).streams]
TINY = [
    "model.embedded.layers=1", "model.embedded.heads=1", "model.embedded.warm_start_steps=2",
    "model.embedded.warm_start_batch=4", "preferences.pairs_per_step=6", "engine.max_new_tokens=4", "trainer.steps=2",
    "trainer.prompts_per_step=2", "trainer.group_size=2", "trainer.evaluate_tasks=4", "trainer.evaluate_samples=1",
    "trainer.evaluate_every=0", "preferences.heldout_fraction=0.02",
]  # fmt: skip


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    monkeypatch.chdir(FOLDER.parents[1])


def fit(name, folder, overrides=(), resume=False):
    config = load_config(FOLDER / name, [*TINY, *overrides])
    if not resume:
        RunFolder.create(folder, config.resolved())
    return config.trainer.build().fit(config, folder, resume=resume)


def lines(folder):
    found = RunFolder(folder).lines("metrics.jsonl")
    return [{key: value for key, value in line.items() if not key.startswith(("time/", "memory/"))} for line in found]


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_trains(name, tmp_path):
    result = fit(name, tmp_path / "run")
    assert (result.status, result.steps) == ("finished", 2)
    logged = lines(result.folder)
    assert [line["step"] for line in logged] == [1, 2]
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] > 0 for line in logged)
    assert {event["policy"] for event in result.summary["events"].values()} <= {"info"}


def test_a_resumed_run_goes_on_with_the_moving_average(tmp_path):
    """Cut off after its third step, kldo divides by the average that it had reached."""
    options = ["objective.moving_rate=0.1", "objective.beta=1", "trainer.steps=4", "trainer.checkpoint_every=1"]
    options += ["trainer.learning_rate=0.01", "trainer.keep_checkpoints=9"]
    whole = fit("kldo.toml", tmp_path / "whole", options)
    cut = tmp_path / "cut"
    shutil.copytree(whole.folder, cut)
    shutil.rmtree(cut / "checkpoints" / "step-000004")
    (cut / "summary.json").unlink()
    fit("kldo.toml", cut, options, resume=True)
    assert lines(cut) == lines(whole.folder)
    alone = lines(fit("kldo.toml", tmp_path / "alone", ["objective.moving_rate=1", *options[1:]]).folder)
    # The first step has no past; from the second the average differs from the step's own mean.
    assert alone[0]["grad_norm"] == pytest.approx(lines(cut)[0]["grad_norm"], rel=1e-4)
    assert alone[3]["grad_norm"] != pytest.approx(lines(cut)[3]["grad_norm"], rel=1e-3)
