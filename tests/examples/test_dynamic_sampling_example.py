"""examples/dynamic_sampling.toml, for two steps with a tiny model."""

from pathlib import Path

import fdiv_gym as fg
from fdiv_gym.runs.config import load_config
from fdiv_gym.runs.folder import RunFolder

EXAMPLE = Path(__file__).parents[2] / "examples" / "dynamic_sampling.toml"
TINY = [
    "env.digits=1", "model={embedded={layers=1, heads=1, warm_start_steps=2, warm_start_batch=4}}", "trainer.steps=2",
    "trainer.prompts_per_step=4", "trainer.group_size=4", "trainer.evaluate_tasks=4", "trainer.evaluate_samples=1",
    "trainer.dynamic_sampling.budget=16",
]  # fmt: skip


def test_it_replaces_the_groups_whose_rewards_are_equal(tmp_path, monkeypatch):
    from fdiv_gym_math.addition import Addition

    # A model this small is never right, so that a part of its answers to odd sums counts as right.
    def score(env, task, response):
        return fg.Verdict.scored(float(int(task.answer) % 2 and sum(map(ord, response)) % 2))

    monkeypatch.setattr(Addition, "score", score)
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    config = load_config(EXAMPLE, TINY)
    run = RunFolder.create(tmp_path / "run", config.resolved())
    config.trainer.build().fit(config, run.path)
    lines = run.lines("metrics.jsonl")
    assert [line["groups/with_signal"] for line in lines] == [4, 4]
    assert sum(line["groups/replaced"] for line in lines) > 0
    assert all(4 <= line["groups/sampled"] <= 20 for line in lines)
    assert all(line["updates/count"] == 1 for line in lines)
