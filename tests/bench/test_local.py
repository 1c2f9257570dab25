"""The local executor: what is done is skipped, what failed is told, and kills lose nothing."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import time

import psutil
import pytest
from bench_harness import cells_of
from executors import GRPO, ended, pid_of, plan, stand_in_command, starts

import fdiv_gym as fg
from fdiv_gym.bench import Outcome, process, read_record, run_cells
from fdiv_gym.bench.folder import locked_bench
from fdiv_gym.bench.record import RECORD
from fdiv_gym.runs import RunFolder
from fdiv_gym.runs.lock import locked

# A driver is forked from the test, which has imported everything; it runs no code of torch.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


@pytest.fixture
def stand_in(prepared, monkeypatch):
    """Cells that are copied instead of trained, within a fraction of a second."""

    def command(place, resumed):
        assert resumed == (place / "run" / "config.json").is_file()
        return stand_in_command(place, prepared)

    monkeypatch.setattr(process, "command", command)


class Driver:
    """``run_cells`` in a process of its own."""

    def __init__(self, folder, cells, **options):
        self.lines_at, self.outcome_at = folder / "lines", folder / "outcome"
        self._process = multiprocessing.get_context("fork").Process(target=self._run, args=(folder, cells, options))
        self._process.start()
        self.pid = self._process.pid

    def _run(self, folder, cells, options):
        os.setpgid(0, 0)
        with open(self.lines_at, "w") as file:
            outcome = run_cells(cells, folder, report=lambda line: print(line, file=file, flush=True), **options)
        self.outcome_at.write_text(json.dumps([outcome.done, outcome.failed, outcome.interrupted]))

    def send(self, number):
        os.kill(self.pid, number)

    def until(self, condition):
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline
            assert self._process.is_alive(), self.lines()
            time.sleep(0.02)

    def lines(self):
        return self.lines_at.read_text() if self.lines_at.exists() else ""

    def end(self):
        """The exit status, after it has ended by itself."""
        self._process.join(120)
        status = self._process.exitcode
        assert status is not None, self.lines()
        self._process.close()
        return status

    def outcome(self):
        assert self.end() == 0, self.lines()
        return json.loads(self.outcome_at.read_text())


def test_done_cells_are_skipped_and_progress_is_told(cells, stand_in, tmp_path):
    lines = []
    outcome = run_cells(cells, tmp_path, processes=1, cores=2, report=lines.append)
    assert (outcome.done, outcome.failed, outcome.interrupted) == ((cells[0].id, cells[1].id), (), False)
    records = [read_record(tmp_path / cell.folder) for cell in cells]
    assert [(record.key, record.attempts) for record in records] == [(cell.key, 1) for cell in cells]
    assert lines[0] == "2 cells: 0 done, 0 failed, 2 to run"
    assert re.fullmatch(r"1 done, 0 failed, 0 running of 2, about \d s left: .* is done", lines[1])
    assert lines[2] == f"2 done, 0 failed, 0 running of 2: {cells[1].id} is done"
    assert "finish on 2 threads" in (tmp_path / cells[0].folder / "log.txt").read_text()
    assert run_cells(cells, tmp_path, report=lines.append) == outcome
    assert lines[3:] == ["2 cells: 2 done, 0 failed, 0 to run"]
    assert [starts(tmp_path, cell) for cell in cells] == [["new finish"]] * 2


def test_a_truncated_record_is_made_again_from_the_run(cells, stand_in, tmp_path):
    lines = []
    run_cells(cells[:1], tmp_path, report=lines.append)
    path = tmp_path / cells[0].folder / RECORD
    whole = json.loads(path.read_text())
    path.write_text(path.read_text()[:100])
    assert run_cells(cells[:1], tmp_path, report=lines.append).done == (cells[0].id,)
    assert any("is damaged" in line and "made again from the run" in line for line in lines)
    assert json.loads(path.read_text()) == whole | {"attempts": 0}
    assert starts(tmp_path, cells[0]) == ["new finish"]


def test_other_runs_are_refused_or_run_again(cells, stand_in, tmp_path):
    other = cells_of(objectives=[GRPO], seeds=[0], base__trainer={"max_grad_norm": 0.5})
    run_cells(cells[:1], tmp_path, report=lambda text: None)
    with pytest.raises(fg.ConfigError, match=r"grpo--.*another configuration.*rerun"):
        run_cells(other, tmp_path, report=lambda text: None)
    (tmp_path / other[0].folder / RECORD).unlink()
    with pytest.raises(fg.ConfigError, match=r"max_grad_norm \(1.0 -> 0.5\).*rerun"):
        run_cells(other, tmp_path, report=lambda text: None)
    assert starts(tmp_path, cells[0]) == ["new finish"]
    lines = []
    # The stand-in has the other run only: it is run again from its start, twice, and is not taken for this one.
    assert run_cells(other, tmp_path, rerun=True, report=lines.append).failed == (other[0].id,)
    assert starts(tmp_path, cells[0]) == ["new finish"] * 3
    record = read_record(tmp_path / other[0].folder)
    assert (record.key, record.final) == (other[0].key, None)
    assert "max_grad_norm" in record.error
    # Back to the first matrix: the folder's record is of the second.
    assert run_cells(cells[:1], tmp_path, rerun=True, report=lines.append).done == (cells[0].id,)
    assert read_record(tmp_path / cells[0].folder).key == cells[0].key


def test_a_cell_that_always_fails_is_tried_twice_and_has_no_number(cells, stand_in, tmp_path):
    plan(tmp_path, cells[0], "fail", "fail")
    lines = []
    outcome = run_cells(cells, tmp_path, processes=1, cores=1, report=lines.append)
    assert (outcome.done, outcome.failed, outcome.interrupted) == ((cells[1].id,), (cells[0].id,), False)
    record = read_record(tmp_path / cells[0].folder)
    assert (record.status, record.attempts, record.final, record.tasks) == ("failed", 2, None, {})
    assert record.error == "fail on 1 threads\nexit status 1"
    assert "0 done, 0 failed, 0 running of 2: " in lines[1]
    assert "failed and is tried again: fail on 1 threads exit status 1" in lines[1]
    assert "0 done, 1 failed, 0 running of 2: " in lines[2]
    # It stays failed, unless it is asked for again.
    assert run_cells(cells, tmp_path, report=lines.append).failed == (cells[0].id,)
    assert len(starts(tmp_path, cells[0])) == 2
    assert run_cells(cells, tmp_path, retry_failed=True, report=lines.append).failed == ()
    assert read_record(tmp_path / cells[0].folder).status == "done"


@pytest.mark.parametrize(
    ("first", "second"),
    [("die", "resumed finish"), ("fail", "new finish"), ("nothing", "new finish")],
)
def test_a_cell_that_fails_once_is_done_at_the_second_start(first, second, cells, stand_in, tmp_path):
    plan(tmp_path, cells[0], first)
    lines = []
    assert run_cells(cells[:1], tmp_path, report=lines.append).done == (cells[0].id,)
    assert starts(tmp_path, cells[0]) == [f"new {first}", second]
    assert read_record(tmp_path / cells[0].folder).attempts == 2
    why = {"die": "exit status -9 (SIGKILL)", "fail": "exit status 1", "nothing": "is not finished"}[first]
    assert why in lines[1]


def test_what_a_killed_driver_left_behind_is_waited_for_and_counts_once(cells, stand_in, tmp_path):
    plan(tmp_path, cells[0], "wait")
    driver = Driver(tmp_path, cells[:1])
    driver.until(lambda: starts(tmp_path, cells[0]))
    orphan = psutil.Process(pid_of(tmp_path, cells[0]))
    driver.send(signal.SIGKILL)
    assert driver.end() == -signal.SIGKILL
    assert orphan.is_running()
    second = Driver(tmp_path, cells[:1])
    second.until(lambda: "waiting for it" in second.lines())
    (tmp_path / cells[0].folder / "go").touch()
    assert second.outcome() == [[cells[0].id], [], False]
    assert starts(tmp_path, cells[0]) == ["new wait"]
    assert read_record(tmp_path / cells[0].folder).attempts == 0


def test_what_a_killed_driver_left_behind_is_resumed_when_it_died_too(cells, stand_in, tmp_path):
    plan(tmp_path, cells[0], "wait")
    driver = Driver(tmp_path, cells[:1])
    driver.until(lambda: (tmp_path / cells[0].folder / "run" / "config.json").exists())
    driver.send(signal.SIGKILL)
    assert driver.end() == -signal.SIGKILL
    os.kill(pid_of(tmp_path, cells[0]), signal.SIGKILL)
    assert run_cells(cells[:1], tmp_path, report=lambda line: None).done == (cells[0].id,)
    assert starts(tmp_path, cells[0]) == ["new wait", "resumed finish"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_driver_lets_its_cells_save(number, cells, stand_in, tmp_path):
    plan(tmp_path, cells[0], "wait")
    driver = Driver(tmp_path, cells, processes=1, cores=1)
    driver.until(lambda: (tmp_path / cells[0].folder / "run" / "config.json").exists())
    with pytest.raises(fg.ConfigError, match=f"process {driver.pid} is writing into"):  # two drivers at once
        run_cells(cells, tmp_path, report=lambda line: None)
    driver.send(number)
    assert driver.outcome() == [[], [], True]
    assert f"{cells[0].id} stopped" in driver.lines()
    assert ended(tmp_path, cells[0]) == "saved"
    assert read_record(tmp_path / cells[0].folder) is None
    outcome = run_cells(cells, tmp_path, report=lambda line: None)
    assert (set(outcome.done), outcome.interrupted) == ({cell.id for cell in cells}, False)
    assert starts(tmp_path, cells[0]) == ["new wait", "resumed finish"]


def test_a_cell_above_the_limit_on_memory_is_ended_as_a_failure(cells, stand_in, tmp_path):
    plan(tmp_path, cells[0], "grow", "grow")
    outcome = run_cells(cells[:1], tmp_path, memory_gb=0.15, report=lambda text: None)
    assert outcome.failed == (cells[0].id,)
    assert re.search(
        r"used 0\.2\d GB of memory, more than memory_gb = 0.15", read_record(tmp_path / cells[0].folder).error
    )


@pytest.mark.parametrize(("processes", "most"), [(1, 1), (2, 2)])
def test_no_more_cells_run_at_a_time_than_processes(processes, most, cells, stand_in, tmp_path):
    for cell in cells:
        plan(tmp_path, cell, "wait")
    driver = Driver(tmp_path, cells, processes=processes, cores=2)
    driver.until(lambda: sum(bool(starts(tmp_path, cell)) for cell in cells) == most)
    time.sleep(0.5)  # more than two rounds of the driver
    running = [cell for cell in cells if starts(tmp_path, cell)]
    assert len(running) == most
    logs = [(tmp_path / cell.folder / "log.txt").read_text() for cell in running]
    assert logs == [f"wait on {2 // processes} threads\n"] * most
    for cell in cells:
        (tmp_path / cell.folder / "go").touch()
    assert driver.outcome()[0] == [cell.id for cell in cells]


@pytest.mark.parametrize("limits", [{"processes": 3, "cores": 2}, {"processes": -1}, {"memory_gb": 0}])
def test_wrong_limits_are_refused(limits, cells, tmp_path):
    with pytest.raises(fg.ConfigError, match=r"processes|memory_gb"):
        run_cells(cells, tmp_path, **limits, report=lambda text: None)
    assert list(tmp_path.iterdir()) == []


def test_an_executor_takes_no_lock_that_its_driver_holds_already(tmp_path):
    with locked_bench(tmp_path):
        assert run_cells([], tmp_path, report=lambda line: None) == Outcome((), (), False)
        with pytest.raises(fg.ConfigError, match="is writing into"), locked(tmp_path, "the bench", "wait"):
            pass
    assert run_cells([], tmp_path, report=lambda line: None) == Outcome((), (), False)
    with locked(tmp_path, "the bench", "wait"), pytest.raises(fg.ConfigError, match="is writing into"):
        run_cells([], tmp_path, report=lambda line: None)


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


@pytest.mark.slow
def test_a_real_cell_outlives_signals_and_kills(tmp_path):
    """One run of 40 steps: stopped with its driver, resumed, killed, resumed, left behind by a killed driver, done."""
    changes = {"base__trainer": {"evaluate_every": 0, "checkpoint_every": 5}, "budget": {"steps": 40}}
    cells = cells_of(objectives=[GRPO], seeds=[0], **changes)
    run = tmp_path / cells[0].folder / "run"

    def steps():
        return len(RunFolder(run).lines("metrics.jsonl"))

    driver = Driver(tmp_path, cells)
    driver.until(lambda: steps() >= 3)
    driver.send(signal.SIGTERM)
    assert driver.outcome() == [[], [], True]
    summary = RunFolder(run).read_json("summary.json")
    assert summary["status"] == "interrupted"
    saved = summary["steps"]
    assert RunFolder(run).checkpoints()[-1].name == f"step-{saved:06d}"

    driver = Driver(tmp_path, cells)
    driver.until(lambda: steps() > saved)
    psutil.Process(int((run / ".writer").read_text())).kill()
    driver.until(lambda: "SIGKILL" in driver.lines())
    driver.until(lambda: steps() > saved + 5)
    orphan = int((run / ".writer").read_text())
    driver.send(signal.SIGKILL)
    driver.end()
    assert psutil.pid_exists(orphan)

    driver = Driver(tmp_path, cells)
    assert driver.outcome() == [[cells[0].id], [], False]
    assert "waiting for it" in driver.lines()
    record = read_record(tmp_path / cells[0].folder)
    assert (record.attempts, record.budget.steps, record.budget.verifications) == (0, 40, 160)
    assert [line["step"] for line in RunFolder(run).lines("metrics.jsonl")] == list(range(1, 41))
