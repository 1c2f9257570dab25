"""examples/lora.toml, for two steps with a tiny model, then evaluated."""

from pathlib import Path

import fdiv_gym as fg
from fdiv_gym.evaluation import Plan, configure, evaluate
from fdiv_gym.runs import RunFolder, load_config

EXAMPLE = Path(__file__).parents[2] / "examples" / "lora.toml"
TINY = [
    "env.digits=1", "model.embedded={layers=1, heads=1, warm_start_steps=2, warm_start_batch=4}", "trainer.steps=2",
    "trainer.prompts_per_step=8", "trainer.group_size=4", "trainer.evaluate_tasks=4", "trainer.evaluate_samples=1",
    "trainer.warmup_steps=0",
]  # fmt: skip


def test_it_trains_and_is_evaluated(tmp_path, monkeypatch):
    from fdiv_gym_math.addition import Addition

    # A model this small is never right, so that half of its answers count as right.
    monkeypatch.setattr(Addition, "score", lambda *given: fg.Verdict.scored(float(sum(map(ord, given[-1])) % 2)))
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    config = load_config(EXAMPLE, TINY)
    run = RunFolder.create(tmp_path / "run", config.resolved())
    config.trainer.build().fit(config, run.path)
    lines = run.lines("metrics.jsonl")
    assert all(line["grad_norm"] > 0 for line in lines)
    assert lines[0]["divergence/estimate"] < 1e-9 < lines[1]["divergence/estimate"]
    adapter = run.checkpoints()[-1] / "model" / "adapter_model.safetensors"
    assert adapter.stat().st_size < 500_000
    chosen, _ = configure(str(run.path))
    assert chosen.model.adapter == str(adapter.parent)
    results = evaluate(Plan(chosen, tasks=2, samples=2), tmp_path / "evaluated").results
    assert (results["model"], results["tasks"]) == (str(adapter.parent), 2)
