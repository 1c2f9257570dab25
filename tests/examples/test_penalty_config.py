"""`examples/penalty.toml`, for two steps with a tiny model."""

from pathlib import Path

import pytest

from fdiv_gym.runs.config import load_config
from fdiv_gym.runs.folder import RunFolder

EXAMPLE = Path(__file__).parents[2] / "examples" / "penalty.toml"
TINY = [
    "model.embedded.layers=1", "model.embedded.warm_start_steps=2", "model.embedded.warm_start_batch=4",
    "trainer.steps=2", "trainer.prompts_per_step=2", "trainer.group_size=2", "trainer.evaluate_tasks=4",
    "trainer.evaluate_samples=1", "trainer.warmup_steps=0",
]  # fmt: skip


@pytest.mark.parametrize("penalty", ["jensen_shannon", "pearson"])
def test_it_trains_and_logs_the_penalty(penalty, tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    config = load_config(EXAMPLE, [*TINY, f"objective.penalty={penalty}"])
    RunFolder.create(tmp_path / "run", config.resolved())
    result = config.trainer.build().fit(config, tmp_path / "run", resume=False)
    first, second = RunFolder(result.folder).lines("metrics.jsonl")
    # The policy starts at the reference: no divergence, no gradient of it.
    assert first["rollouts/penalty"] == pytest.approx(0, abs=1e-9)
    assert first["rollouts/penalty_second_moment"] == pytest.approx(0, abs=1e-9)
    if first["grad_norm"] > 0:
        assert second["rollouts/penalty"] > 0
        assert second["rollouts/penalty_second_moment"] > 0
    assert second["rollouts/penalty_truncated"] == 0
