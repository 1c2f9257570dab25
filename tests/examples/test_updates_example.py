"""examples/updates.toml, for two steps with a tiny model."""

from pathlib import Path

import pytest

import fdiv_gym as fg
from fdiv_gym.runs.config import load_config
from fdiv_gym.runs.folder import RunFolder

EXAMPLE = Path(__file__).parents[2] / "examples" / "updates.toml"
TINY = [
    "env.digits=1", "model={embedded={layers=1, heads=1, warm_start_steps=2, warm_start_batch=4}}", "trainer.steps=2",
    "trainer.prompts_per_step=8", "trainer.group_size=4", "trainer.evaluate_tasks=4", "trainer.evaluate_samples=1",
]  # fmt: skip


def test_it_makes_four_updates_a_step(tmp_path, monkeypatch):
    from fdiv_gym_math.addition import Addition

    # A model this small is never right, so that half of its answers count as right.
    monkeypatch.setattr(Addition, "score", lambda *given: fg.Verdict.scored(float(sum(map(ord, given[-1])) % 2)))
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    config = load_config(EXAMPLE, TINY)
    run = RunFolder.create(tmp_path / "run", config.resolved())
    config.trainer.build().fit(config, run.path)
    lines = run.lines("metrics.jsonl")
    assert [line["updates/count"] for line in lines] == [4, 4]
    assert all(line["updates/stopped_early"] == 0 for line in lines)
    assert lines[-1]["ratio/p01"] < lines[-1]["ratio/p50"] < lines[-1]["ratio/p99"]
    assert lines[-1]["engine/logprob_gap"] < 1e-4 < lines[-1]["ratio/kl_old"] == pytest.approx(0, abs=0.1)
