"""Totals and random states are those of an uninterrupted run, in every process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from folder_harness import config_file

import fdiv_gym as fg
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
    plain = [[{k: v for k, v in line.items() if not k.startswith("time/")} for line in found] for found in lines]
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
