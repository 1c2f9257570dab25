"""The examples of GPRL and of the drift monitor: short forms in every run of the tests, whole ones in the slow set."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

import fdiv_gym as fg
from fdiv_gym.runs import EVALUATIONS, METRICS, RunFolder, parse_config

ROOT = Path(__file__).parents[2]
TINY = {"steps": 2, "prompts_per_step": 2, "group_size": 4, "evaluate_tasks": 2}


def table(name):
    config = tomllib.loads((ROOT / "examples" / f"{name}.toml").read_text())
    if "preferences" in config:
        config["preferences"]["path"] = str(ROOT / config["preferences"]["path"])
    return config


def trained(config, folder):
    fg.train(config, folder)
    return RunFolder(folder)


def events(run):
    (panel,) = run.read_json("panels.json")["panels"]
    assert panel["callback"] == "drift-monitor"
    return [(step, event) for step, event, *_ in panel["tables"][0]["rows"]], panel


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")


def test_it_trains_on_the_judge_that_the_other_example_writes(tmp_path):
    judge = table("gpm_zeal")
    judge["trainer"] |= {"steps": 3, "warmup_steps": 1, "evaluate_every": 0}
    trained(judge, tmp_path / "gpm")
    config = table("gprl")
    (folder,) = (tmp_path / "gpm" / "checkpoints").glob("step-*")
    config["env"]["judge"]["model"] = str(folder / "preference_model")
    config["callbacks"][0] |= {"warmup": 1}
    config["model"]["embedded"] |= {"layers": 1, "warm_start_steps": 2, "warm_start_batch": 4}
    config["trainer"] |= TINY
    run = trained(config, tmp_path / "run")
    lines = run.lines(METRICS)
    assert [line["step"] for line in lines] == [1, 2]
    assert all(0 < line["reward/mean"] < 1 for line in lines)
    assert lines[0]["component/gprl/1"] == pytest.approx(0, abs=1e-6)
    events(run)


def test_the_example_for_smollm2_has_the_reported_setting():
    config = table("gprl_smollm2")
    assert (config["trainer"]["group_size"], config["engine"]["max_new_tokens"]) == (8, 512)
    assert parse_config(config).objective.build().has_penalty


@pytest.mark.slow
def test_the_monitor_detects_an_exaggerated_quality_and_corrects_it(tmp_path):
    """The closed loop of benchmarks/gprl_loop.py in short: one seed, the qualities as dimensions, about a minute."""
    config = table("zeal")
    watched = trained(config, tmp_path / "watched")
    blind = trained({**config, "callbacks": []}, tmp_path / "blind")
    last = {run: np.mean([line["env/true_score"] for line in run.lines(EVALUATIONS)[-2:]]) for run in (watched, blind)}
    marks = {run: run.lines(EVALUATIONS)[-1]["env/marks"] for run in (watched, blind)}
    found, panel = events(watched)
    begun = [step for step, event in found if event == "begins to act"]
    assert 10 < begun[0] < 40
    multipliers = next(one["series"] for one in panel["figures"] if one["title"] == "Multipliers of the dimensions")
    lowest = {name: min(value for _, value in series) for name, series in multipliers.items()}
    assert lowest["keen"] < 0.6
    assert lowest["keen"] < min(lowest["right"], lowest["plain"])
    assert last[blind] < 0.15  # the exploit, without the monitor
    assert marks[blind] > 5
    assert last[watched] > 0.3  # beyond the untrained model, .25 by the best temperature or a vote of 16
    assert marks[watched] < 4


@pytest.mark.slow
def test_a_learnt_judge_is_exploited_and_its_dimensions_do_not_tell(tmp_path):
    """The negative result of benchmarks/gprl_loop.py in short: what is exploited is in every learnt dimension."""
    judge = trained(table("gpm_zeal"), tmp_path / "gpm")
    assert judge.lines(EVALUATIONS)[-1]["heldout/accuracy"] > 0.75  # .9 is the most: a tenth is noise
    config = table("gprl")
    config["env"]["judge"]["model"] = str(tmp_path / "gpm" / "checkpoints" / "step-000200" / "preference_model")
    lines = trained(config, tmp_path / "run").lines(EVALUATIONS)
    assert lines[-1]["score/sampled"] > lines[0]["score/sampled"] + 0.2
    assert lines[-1]["env/true_score"] < 0.15
