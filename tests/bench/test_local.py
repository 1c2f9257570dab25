"""The local executor on real runs: what is done is skipped, what failed is told, and kills lose nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from bench_harness import cells_of

import fdiv_gym as fg
from fdiv_gym.bench import read_record, run_cells
from fdiv_gym.bench.record import RECORD
from fdiv_gym.runs import RunFolder
from fdiv_gym.runs.lock import locked

GRPO = {"label": "grpo", "objective": {"name": "grpo"}}
LONG = {"budget": {"steps": 100_000}, "base__trainer": {"evaluate_every": 0}, "objectives": [GRPO], "seeds": [0]}
SCRIPT = Path(__file__).with_name("driver_script.py")


def one(**changes):
    """One short cell."""
    return cells_of(objectives=[GRPO], seeds=[0], **changes)


def start(folder, processes, changes):
    return subprocess.Popen(
        [sys.executable, SCRIPT, folder, str(processes), json.dumps(changes)], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for(condition, process=None):
    deadline = time.monotonic() + 300
    while not (found := condition()):
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)
    return found


def steps_of(folder):
    return len(RunFolder(folder).lines("metrics.jsonl"))


def trainer_of(folder):
    """The process that trains in a run folder."""
    return psutil.Process(int((folder / ".writer").read_text()))


@pytest.mark.slow
def test_cells_run_and_are_skipped_when_they_are_done(tmp_path):
    cells, lines = cells_of(), []
    outcome = run_cells(cells, tmp_path, processes=2, cores=2, report=lines.append)
    assert (len(outcome.done), outcome.failed, outcome.interrupted) == (4, (), False)
    records = [read_record(tmp_path / cell.folder) for cell in cells]
    assert [record.key for record in records] == [cell.key for cell in cells]
    assert [record.attempts for record in records] == [1] * 4
    # The same start for every objective: the evaluations before training are equal for one seed.
    for seed in (0, 1):
        of_seed = [record for record in records if record.seed == seed]
        assert of_seed[0].curve["score/sampled"][0] == of_seed[1].curve["score/sampled"][0]
        assert of_seed[0].tasks.keys() == of_seed[1].tasks.keys()
    assert "4 done, 0 failed, 0 running of 4" in lines[-1]
    before = {cell.id: (tmp_path / cell.folder / RECORD).stat().st_mtime_ns for cell in cells}
    again = run_cells(cells, tmp_path, processes=2, cores=2, report=lines.append)
    assert set(again.done) == set(outcome.done)
    assert before == {cell.id: (tmp_path / cell.folder / RECORD).stat().st_mtime_ns for cell in cells}


@pytest.mark.slow
def test_a_truncated_record_is_made_again_from_the_run(tmp_path):
    cells, lines = one(), []
    run_cells(cells, tmp_path, report=lines.append)
    path = tmp_path / cells[0].folder / RECORD
    whole = json.loads(path.read_text())
    path.write_text(path.read_text()[:100])
    assert run_cells(cells, tmp_path, report=lines.append).done == (cells[0].id,)
    assert any("is damaged" in line and "made again from the run" in line for line in lines)
    assert json.loads(path.read_text()) == whole | {"attempts": 0}


@pytest.mark.slow
def test_other_runs_are_refused_or_run_again(tmp_path):
    run_cells(one(), tmp_path, report=lambda text: None)
    changed = one(base__trainer={"max_grad_norm": 0.5})
    with pytest.raises(fg.ConfigError, match=r"grpo--.*another configuration.*rerun"):
        run_cells(changed, tmp_path, report=lambda text: None)
    (tmp_path / changed[0].folder / RECORD).unlink()
    with pytest.raises(fg.ConfigError, match=r"max_grad_norm \(1.0 -> 0.5\).*rerun"):
        run_cells(changed, tmp_path, report=lambda text: None)
    assert run_cells(changed, tmp_path, rerun=True, report=lambda text: None).done == (changed[0].id,)
    assert read_record(tmp_path / changed[0].folder).key == changed[0].key


@pytest.mark.slow
def test_a_cell_that_always_fails_is_tried_twice_and_has_no_number(tmp_path):
    lines = []
    cells = one(base__model={"name_or_path": "/nowhere/model"})
    outcome = run_cells(cells, tmp_path, report=lines.append)
    assert (outcome.done, outcome.failed) == ((), (cells[0].id,))
    record = read_record(tmp_path / cells[0].folder)
    assert (record.status, record.attempts, record.final) == ("failed", 2, None)
    assert "/nowhere/model" in record.error
    assert record.error.endswith("exit status 2")
    # It stays failed, unless it is asked for again.
    assert run_cells(cells, tmp_path, report=lines.append).failed == (cells[0].id,)
    assert read_record(tmp_path / cells[0].folder) == record


@pytest.mark.slow
def test_a_killed_cell_is_resumed(tmp_path):
    changes = {**LONG, "budget": {"steps": 60}}
    cell = cells_of(**changes)[0]
    run = tmp_path / cell.folder / "run"
    driver = start(tmp_path, 1, changes)
    wait_for(lambda: steps_of(run) >= 3, driver)
    trainer_of(run).kill()
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, output
    assert "failed and is tried again" in output
    assert "SIGKILL" in output
    record = read_record(tmp_path / cell.folder)
    assert (record.status, record.attempts, record.budget.verifications) == ("done", 2, 240)
    assert [line["step"] for line in RunFolder(run).lines("metrics.jsonl")] == list(range(1, 61))


@pytest.mark.slow
def test_what_a_killed_driver_left_behind_is_waited_for_and_counts_once(tmp_path):
    changes = {**LONG, "budget": {"steps": 150}}
    cell = cells_of(**changes)[0]
    run = tmp_path / cell.folder / "run"
    driver = start(tmp_path, 1, changes)
    wait_for(lambda: steps_of(run) >= 3, driver)
    orphan = trainer_of(run)
    driver.kill()
    driver.wait()
    assert orphan.is_running()
    second = start(tmp_path, 1, changes)
    output, _ = second.communicate(timeout=300)
    assert second.returncode == 0, output
    assert "waiting for it" in output
    assert json.loads(output.splitlines()[-1]) == [[cell.id], [], False]
    record = read_record(tmp_path / cell.folder)
    assert (record.attempts, record.budget.steps, record.budget.verifications) == (0, 150, 600)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_driver_lets_its_cells_save(number, tmp_path):
    cell = cells_of(**LONG)[0]
    run = tmp_path / cell.folder / "run"
    driver = start(tmp_path, 1, LONG)
    wait_for(lambda: steps_of(run) >= 3, driver)
    second = start(tmp_path, 1, LONG)  # two drivers at once
    refused, _ = second.communicate(timeout=120)
    assert second.returncode != 0
    assert f"process {driver.pid} is writing into" in " ".join(refused.split())
    driver.send_signal(number)
    output, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, output
    assert json.loads(output.splitlines()[-1]) == [[], [], True]
    summary = RunFolder(run).read_json("summary.json")
    assert summary["status"] == "interrupted"
    assert RunFolder(run).checkpoints()[-1].name == f"step-{summary['steps']:06d}"
    assert read_record(tmp_path / cell.folder) is None


@pytest.mark.slow
def test_a_cell_above_the_limit_on_memory_is_ended_as_a_failure(tmp_path):
    cells = cells_of(**LONG)
    outcome = run_cells(cells, tmp_path, memory_gb=0.05, report=lambda text: None)
    assert outcome.failed == (cells[0].id,)
    assert "more than memory_gb = 0.05" in read_record(tmp_path / cells[0].folder).error


@pytest.mark.parametrize("limits", [{"processes": 3, "cores": 2}, {"processes": -1}, {"memory_gb": 0}])
def test_wrong_limits_are_refused(limits, tmp_path):
    with pytest.raises(fg.ConfigError, match=r"processes|memory_gb"):
        run_cells(one(), tmp_path, **limits, report=lambda text: None)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_a_program_inherits_outlives_the_one_that_took_it(tmp_path):
    with locked(tmp_path, "the cell", "wait") as held:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(held,))
    try:
        with pytest.raises(fg.ConfigError, match="is writing into"), locked(tmp_path, "the cell", "wait"):
            pass
    finally:
        child.kill()
        child.wait()
    with locked(tmp_path, "the cell", "wait"):
        assert (tmp_path / ".writer").read_text() == f"{os.getpid()}\n"
