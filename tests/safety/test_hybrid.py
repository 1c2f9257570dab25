"""f-HAL on safety/Refusal-v0: both streams in one step."""

import json
import math
from pathlib import Path

import pytest

import fdiv_gym as fg
from fdiv_gym.runs.config import load_config
from fdiv_gym.runs.folder import EVALUATIONS, METRICS, RunFolder

ROOT = Path(__file__).parents[2]
SMALL = [
    "model.embedded.layers=2", "model.embedded.heads=2", "model.embedded.warm_start_steps=40",
    "model.embedded.warm_start_batch=32", "trainer.steps=10", "trainer.prompts_per_step=4", "trainer.group_size=4",
    "trainer.evaluate_every=5", "trainer.evaluate_tasks=16", "trainer.evaluate_samples=2",
    "trainer.checkpoint_every=5", "preferences.pairs_per_step=8",
]  # fmt: skip


def train(name, folder, overrides, monkeypatch, resume=False):
    monkeypatch.chdir(ROOT)
    config = load_config(ROOT / "examples" / f"{name}.toml", overrides)
    run = RunFolder(folder) if resume else RunFolder.create(folder, config.resolved())
    config.trainer.build().fit(config, folder, resume=resume)
    return run


def test_ten_hybrid_steps_log_both_streams(tmp_path, monkeypatch):
    run = train("safety_hybrid", tmp_path / "run", SMALL, monkeypatch)
    lines = run.lines(METRICS)
    assert [line["step"] for line in lines] == list(range(1, 11))
    for line in lines:
        assert line["lam"] == 0.5
        assert line["loss"] == pytest.approx(line["loss/rollouts"] + line["loss/preferences"])
        assert line["grad_norm/preferences"] > 0
    # lam = 0.5 at the reference: the preference stream is -0.5 E[g(0)] + 0.5 E[f*(g(0))] = 0 for calibrated links
    assert lines[0]["loss/preferences"] == pytest.approx(0, abs=1e-6)
    assert lines[-1]["total/judged"] >= 160
    evaluations = run.lines(EVALUATIONS)
    assert [line["step"] for line in evaluations] == [0, 5, 10]
    first, last = evaluations[0], evaluations[-1]
    assert {"env/attack_success", "env/over_refusal", "env/helpfulness"} <= set(first)
    assert first["drift/chosen"] == pytest.approx(0, abs=1e-5)
    assert last["drift/chosen"] > last["drift/rejected"]
    names = {entry.name for entry in fg.list_entries("divergence") if entry.status == "ok"}
    for name in names:
        assert first[f"divergence/{name}"] == pytest.approx(0, abs=1e-5)
        assert last[f"divergence/{name}"] is None or last[f"divergence/{name}"] > 0  # None: too large for a float


def test_a_resumed_hybrid_run_has_the_same_data(tmp_path, monkeypatch):
    def metrics(run):
        kept = [
            {k: v for k, v in line.items() if not k.startswith(("time/", "memory/", "total/"))}
            for line in run.lines(METRICS)
        ]
        return json.dumps(kept)

    whole = train("safety_hybrid", tmp_path / "whole", SMALL, monkeypatch)
    part = train("safety_hybrid", tmp_path / "part", SMALL, monkeypatch)
    later = part.checkpoints()[-1]
    for file in sorted(later.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    later.rmdir()
    resumed = train("safety_hybrid", tmp_path / "part", SMALL, monkeypatch, resume=True)
    assert metrics(resumed) == metrics(whole)


def test_preferences_alone_train_without_an_environment(tmp_path, monkeypatch):
    run = train("preferences_only", tmp_path / "run", SMALL, monkeypatch)
    first, last = run.lines(EVALUATIONS)[0], run.lines(EVALUATIONS)[-1]
    assert "score/sampled" not in first
    assert (first["step"], first["drift/chosen"], first["preference/accuracy"]) == (0, 0, 0.5)
    assert last["drift/chosen"] > last["drift/rejected"]
    assert first["divergence/kl"] == pytest.approx(0, abs=1e-9)
    assert last["divergence/kl"] > 1e-6


@pytest.mark.slow
def test_a_full_hybrid_run_raises_the_score_and_stays_helpful(tmp_path, monkeypatch):
    run = train("safety_hybrid", tmp_path / "run", [], monkeypatch)
    first, last = run.lines(EVALUATIONS)[0], run.lines(EVALUATIONS)[-1]
    assert last["score/sampled"] > first["score/sampled"] + 0.2
    assert last["env/helpfulness"] > first["env/helpfulness"] - 0.05
    assert last["env/attack_success"] < first["env/attack_success"] - 0.2
    assert math.isfinite(last["divergence/jensen_shannon"])
    assert run.read_json("summary.json")["seconds"] < 300
