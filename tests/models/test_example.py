"""examples/smollm2.toml, for two steps with the tiny model of a GGUF file in its place."""

import json
from pathlib import Path

import fdiv_gym as fg
from fdiv_gym.evaluation.plan import configure
from fdiv_gym.manifest import seal
from fdiv_gym.runs.config import load_config
from fdiv_gym.runs.folder import RunFolder

EXAMPLE = Path(__file__).parents[2] / "examples" / "smollm2.toml"


def test_it_trains_an_adapter_on_a_gguf_file(tiny_file, own_cache, tmp_path, monkeypatch):
    from fdiv_gym_math.procedural.arithmetic import Arithmetic

    # A model this small is never right, so that half of its answers count as right.
    monkeypatch.setattr(Arithmetic, "score", lambda *given: fg.Verdict.scored(float(sum(map(ord, given[-1])) % 2)))
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    model = [
        f"model.name_or_path={json.dumps(str(tiny_file.parent))}",
        "model.gguf_file=tiny.gguf",
        "model.lora.rank=4",
    ]
    trainer = ["steps=2", "prompts_per_step=2", "group_size=4", "evaluate_tasks=2", "warmup_steps=0"]
    config = load_config(EXAMPLE, [*model, *(f"trainer.{item}" for item in trainer), "engine.max_new_tokens=4"])
    run = RunFolder.create(tmp_path / "run", config.resolved())
    config.trainer.build().fit(config, run.path)
    first, second = run.lines("metrics.jsonl")
    assert "What is " in run.lines("samples.jsonl")[0]["prompt"]
    assert first["engine/logprob_gap"] < 1e-4
    assert second["grad_norm"] > 0
    assert (run.checkpoints()[-1] / "model" / "adapter_config.json").is_file()
    initial = {"name_or_path": str(tiny_file.parent), "gguf_file": "tiny.gguf"}
    for step, adapter in ((None, str(run.checkpoints()[-1] / "model")), (0, None)):
        evaluated = configure(str(run.path), step=step)[0].model
        assert evaluated.model_dump(include={"name_or_path", "gguf_file", "adapter"}) == {**initial, "adapter": adapter}


def test_a_checkpoint_of_all_weights_needs_no_gguf_file(tmp_path):
    model = {"name_or_path": str(tmp_path), "gguf_file": "tiny.gguf"}
    run = RunFolder.create(tmp_path / "run", {"env": {"id": "math/Addition-v0"}, "model": model})
    weights = run.path / "checkpoints" / "step-000001" / "model"
    weights.mkdir(parents=True)
    (weights / "config.json").write_text("{}")
    seal(weights.parent)
    found = configure(str(run.path), step=1)[0].model
    assert (found.name_or_path, found.gguf_file) == (str(weights), None)
    found = configure(str(run.path), step=0)[0].model
    assert (found.name_or_path, found.gguf_file) == (str(tmp_path), "tiny.gguf")
