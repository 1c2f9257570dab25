"""Totals and random states are those of an uninterrupted run, in every process."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from folder_harness import config_file

import fdiv_gym as fg
from fdiv_gym.rewards import CachedJudge
from fdiv_gym.runs import RunFolder, load_config, train
from fdiv_gym_math.addition import Addition


class Counted(Addition):
    """Counts its verdicts, and prices them at a number that binary fractions do not hold."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.judged, self.cost = 0, 0.0

    def score(self, task: fg.Task, response: str) -> fg.Verdict:
        self.judged += 1
        self.cost += 0.1
        return super().score(task, response)

    def counters(self) -> dict[str, float]:
        return {"judged": self.judged, "cost": self.cost}


class Asked(CachedJudge):
    """Counts what it is asked for as calls, and keeps its verdicts on disk."""

    async def judge_fresh(self, tasks, responses):
        self.usage.calls += len(responses)
        self.usage.cost += 0.1 * len(responses)
        return [fg.Verdict.scored(float(r.strip() == t.answer)) for t, r in zip(tasks, responses, strict=True)]


class JudgedAddition(Addition):
    """Asks a judge; ``killed_at`` is the batch after which the run dies."""

    killed_at = 0

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.judge, self.batches = Asked(), 0

    def score_batch(self, tasks, responses):
        verdicts = self.judge.judge_batch(tasks, responses)
        self.batches += 1
        if self.batches == type(self).killed_at:
            raise KeyboardInterrupt  # ends the run without a checkpoint; on the disk it leaves what a kill leaves
        return verdicts

    def counters(self) -> dict[str, float]:
        return self.judge.counters()


def plain(folder):
    lines = RunFolder(folder).lines("metrics.jsonl")
    return [{k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in lines]


# Two batches an evaluation (at steps 0, 2, 4), one a step. Greedy responses of two evaluations are the same.
@pytest.mark.parametrize("killed_at", [1, 11], ids=["evaluation", "step-5"])
def test_what_a_judge_has_in_its_cache_counts_as_it_did_at_first(tmp_path, monkeypatch, killed_at):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    values = load_config(config_file(tmp_path), ["trainer.steps=6", "trainer.evaluate_every=2"]).resolved()
    values["env"] = {"id": JudgedAddition, "digits": 1}
    runs = {}
    for name, at in (("straight", 0), ("cut", killed_at)):
        monkeypatch.setattr("fdiv_gym.rewards.judge.cache_folder", lambda name=name: tmp_path / f"{name}-cache")
        runs[name] = tmp_path / name
        monkeypatch.setattr(JudgedAddition, "killed_at", at)
        if at:
            with pytest.raises(KeyboardInterrupt):
                train(values, runs[name])
            monkeypatch.setattr(JudgedAddition, "killed_at", 0)
        train(values, runs[name], resume=runs[name].is_dir())
    assert plain(runs["straight"])[-1]["total/cached"] > 0
    assert plain(runs["cut"]) == plain(runs["straight"])
    assert RunFolder(runs["cut"]).lines("totals.jsonl") == RunFolder(runs["straight"]).lines("totals.jsonl")


def test_the_totals_of_a_run_killed_twice_are_those_of_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    values = load_config(config_file(tmp_path), ["trainer.steps=6"]).resolved()
    values["env"] = {"id": Counted, "digits": 1}
    values["trainer"]["keep_checkpoints"] = 3
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    train(values, straight)
    shutil.copytree(straight, cut)
    for step in (4, 6):  # killed after step 2 was saved, and again after step 4
        for newer in range(step, 7, 2):
            shutil.rmtree(cut / "checkpoints" / f"step-{newer:06d}", ignore_errors=True)
        train(values, cut, resume=True)
    lines = [RunFolder(folder).lines("metrics.jsonl") for folder in (straight, cut)]
    plain = [
        [{k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in found] for found in lines
    ]
    assert [line["total/judged"] for line in plain[0]] == [20 + 16 * step for step in range(1, 7)]
    assert plain[0] == plain[1]


@pytest.mark.slow
def test_every_process_gets_its_own_random_state_and_totals_back(tmp_path):
    script = Path(__file__).with_name("ranks_script.py")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"}
    subprocess.run([*launcher, str(script), str(tmp_path)], check=True, env=environment, timeout=120)
    records = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert records[0]["drawn"] != records[1]["drawn"]
    for rank, record in enumerate(records):
        assert record["states"] == 2
        assert record["restored"] == record["drawn"]
        assert record["counters"] == {"judged": 10 + rank}


class Careless(Addition):
    """Draws from the global generators, and keeps what it drew."""

    drawn: list[float]

    def score_batch(self, tasks, responses):
        type(self).drawn += [random.random(), float(np.random.rand()), float(torch.rand(()))]
        return super().score_batch(tasks, responses)


def test_global_generators_are_seeded_by_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    values = load_config(config_file(tmp_path), ["trainer.steps=2"]).resolved()
    values["env"] = {"id": Careless, "digits": 1}
    draws = []
    for seed in (0, 0, 1):
        monkeypatch.setattr(Careless, "drawn", [], raising=False)
        train({**values, "seed": seed}, tmp_path / str(len(draws)))
        draws.append(Careless.drawn)
    assert draws[0] == draws[1]
    assert not set(draws[0]) & set(draws[2])
