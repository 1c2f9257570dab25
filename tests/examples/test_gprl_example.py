"""The example of GPRL trains on a preference model that examples/gpm.toml wrote."""

import tomllib
from pathlib import Path

import pytest

import fdiv_gym as fg
from fdiv_gym.runs import METRICS, RunFolder, parse_config

ROOT = Path(__file__).parents[2]


def table(name):
    return tomllib.loads((ROOT / "examples" / f"{name}.toml").read_text())


@pytest.mark.slow
def test_it_trains_on_the_judge_that_the_other_example_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    judge = table("gpm")
    judge["trainer"] |= {"steps": 3, "warmup_steps": 1, "evaluate_every": 0}
    fg.train(judge, tmp_path / "gpm")
    run = table("gprl")
    (folder,) = (tmp_path / "gpm" / "checkpoints").glob("step-*")
    run["env"]["judge"]["model"] = str(folder / "preference_model")
    run["callbacks"][0] |= {"warmup": 1}
    run["trainer"] |= {"steps": 2, "prompts_per_step": 2, "group_size": 4, "evaluate_tasks": 2}
    fg.train(run, tmp_path / "run")
    lines = RunFolder(tmp_path / "run").lines(METRICS)
    assert [line["step"] for line in lines] == [1, 2]
    assert all(0 < line["reward/mean"] < 1 for line in lines)
    assert lines[0]["component/gprl/1"] == pytest.approx(0, abs=1e-6)
    (panel,) = RunFolder(tmp_path / "run").read_json("panels.json")["panels"]
    assert panel["callback"] == "drift-monitor"


def test_the_example_for_smollm2_has_the_reported_setting():
    config = table("gprl_smollm2")
    assert (config["trainer"]["group_size"], config["engine"]["max_new_tokens"]) == (8, 512)
    assert parse_config(config).objective.build().has_penalty
