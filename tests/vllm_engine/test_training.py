"""Training with the engine vllm, against the real package: make test-vllm."""

import json
import tomllib
from pathlib import Path

import pytest

import fdiv_gym as fg
from fdiv_gym.runs.config import parse_config
from fdiv_gym.runs.folder import RunFolder

pytestmark = pytest.mark.vllm
EXAMPLE = Path(__file__).parents[2] / "examples" / "vllm.toml"
TINY = {"layers": 1, "heads": 1, "head_dim": 32, "warm_start_steps": 30, "warm_start_batch": 32}
SHORT = {
    "steps": 2, "prompts_per_step": 8, "group_size": 8, "evaluate_tasks": 4, "evaluate_every": 2, "checkpoint_every": 1,
    "learning_rate": 1e-3,
}  # fmt: skip


def example(engine="vllm", **trainer):
    """The example, with a tiny model and few small steps."""
    values = tomllib.loads(EXAMPLE.read_text())
    values["env"]["digits"] = 1
    values["model"]["embedded"] = TINY
    values["trainer"] |= SHORT | trainer
    values["engine"] |= {"name": engine}
    return parse_config(values)


def train(config, folder, resume=False):
    if not resume:
        RunFolder.create(folder, config.resolved())
    return config.trainer.build().fit(config, folder, resume=resume)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_example_trains_and_resumes(tmp_path):
    folder = tmp_path / "run"
    train(example(), folder)
    assert all(line["engine/logprob_gap"] < 1e-4 for line in lines(folder))
    train(example(steps=4), folder, resume=True)
    assert [line["step"] for line in lines(folder)] == [1, 2, 3, 4]
    assert all(line["engine/logprob_gap"] < 1e-4 for line in lines(folder))
    assert any(line["grad_norm"] > 0 for line in lines(folder))


def test_the_same_seed_gives_the_same_run(tmp_path):
    for name in ("one", "two"):
        train(example(evaluate_every=0), tmp_path / name)
    one, two = (
        [{k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in lines(tmp_path / name)]
        for name in ("one", "two")
    )
    assert one == two


def test_an_adapter_arrives_merged(tmp_path):
    values = example(steps=3, learning_rate=1e-2).resolved()
    values["model"]["lora"] = {"rank": 4}
    train(parse_config(values), tmp_path / "run")
    assert all(line["engine/logprob_gap"] < 1e-4 for line in lines(tmp_path / "run"))


def test_a_sync_that_never_arrives_is_caught_at_the_next_step_by_name(tmp_path):
    class Deaf(type(fg.get_engine("vllm"))):
        """Forgets every sync after the first, and its proof too."""

        syncs = 0

        def update_weights(self, weights):
            self.syncs += 1
            if self.syncs == 1:
                super().update_weights(weights)

    with pytest.raises(fg.TrainerError, match=r"engine_gap.*stale weights"):
        train(example(Deaf, steps=6, learning_rate=1e-2, check_plugins=False), tmp_path / "run")
    *agreed, at_fault = lines(tmp_path / "run")
    (event,) = [event for event in at_fault["events"] if event["name"] == "engine_gap"]
    assert event["cause"] == "stale"
    assert [line["updates/count"] for line in agreed if line["grad_norm"] > 0] == [1.0]  # at the step after the update
