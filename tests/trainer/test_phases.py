"""Seconds and bytes of the phases of a step, and traces of chosen steps."""

from __future__ import annotations

import gzip
import json
import time

import pytest
import torch
from conftest_trainer import tiny_config, train

import fdiv_gym as fg
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym_accelerate.phases import Phases, trace_path, traced

CPU = torch.device("cpu")


def test_a_phase_ends_where_the_next_begins(monkeypatch):
    clock = iter([0.0, 3.0, 3.0, 10.0, 20.0, 21.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    sizes = iter([100.0, 70.0, 40.0])
    monkeypatch.setattr("fdiv_gym_accelerate.phases.memory_bytes", lambda device: next(sizes))
    phases = Phases(CPU)
    phases.enter("sampling")
    phases.enter("scoring")
    phases.leave()
    phases.leave()  # nothing is open
    phases.enter("sampling")
    assert phases.line() == {
        "time/sampling_seconds": 4.0, "memory/sampling_bytes": 100.0, "time/scoring_seconds": 7.0,
        "memory/scoring_bytes": 70.0,
    }  # fmt: skip
    assert phases.line() == {}


def test_memory_is_measured_only_where_it_is_known(monkeypatch):
    monkeypatch.setattr("fdiv_gym_accelerate.phases.memory_bytes", lambda device: None)
    phases = Phases(CPU)
    phases.enter("update")
    assert list(phases.line()) == ["time/update_seconds"]


def test_the_phases_of_a_run_add_up_and_a_trace_names_them(tmp_path):
    run = RunFolder(train(tiny_config(trainer__profile_steps=[2, 3]), tmp_path / "run").folder)
    for line in run.lines("metrics.jsonl"):
        seconds = {name: line[f"time/{name}_seconds"] for name in ("sampling", "scoring", "update", "sync")}
        assert min(seconds.values()) >= 0
        assert sum(seconds.values()) <= line["time/seconds"]
        assert seconds["sampling"] + seconds["scoring"] <= line["time/rollout_seconds"]
        assert all(line[f"memory/{name}_bytes"] > 1e8 for name in seconds)  # torch alone takes more
    files = sorted(path.name for path in (run.path / "profile").iterdir())
    assert files == ["step-000002-process-0.json.gz", "step-000003-process-0.json.gz"]
    with gzip.open(run.path / "profile" / files[0]) as file:
        events = json.load(file)["traceEvents"]
    names = [event.get("name") for event in events if event.get("cat") == "user_annotation"]
    assert [name for name in names if name in ("sampling", "scoring", "update", "sync")] == [
        "sampling", "scoring", "update", "sync",
    ]  # fmt: skip
    assert any(str(event.get("name")) == "aten::linear" for event in events)


def test_a_step_that_never_comes_is_refused():
    with pytest.raises(fg.ConfigError, match="profile_steps has step 9, and the run ends at step 4"):
        tiny_config(trainer__profile_steps=[2, 9])


@pytest.mark.parametrize("planted", ["profile", "profile/step-000001-process-0.json.gz"])
def test_no_trace_is_written_through_a_link(tmp_path, planted):
    path = trace_path(tmp_path, 1, 0)
    (tmp_path / "mine").mkdir()
    (tmp_path / planted).parent.mkdir(exist_ok=True)
    (tmp_path / planted).symlink_to(tmp_path / "mine")
    with pytest.raises(fg.TrainerError, match="is a link; remove it"), traced(path):
        pass
    assert not [*(tmp_path / "mine").iterdir()]
