"""The Ray executor on a real Ray of this machine: placement, retries, kills, and drivers that are started again."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from bench_harness import cells_of
from executors import GRPO, STAND_IN, ended, pid_of, plan, stand_in_command, starts

import fdiv_gym as fg
from fdiv_gym.bench import on_ray, process, read_record
from fdiv_gym.bench.folder import Outcome
from fdiv_gym.bench.on_ray import run_on_ray
from fdiv_gym.bench.ray_cluster import Resources, refuse_unreachable
from fdiv_gym.bench.ray_task import run_cell
from fdiv_gym.bench.record import RECORD
from fdiv_gym.runs import RunFolder

SCRIPT = Path(__file__).with_name("ray_driver.py")


@pytest.fixture(scope="module")
def cluster(prepared):
    """A Ray of two cores, whose workers start stand-ins for runs."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    program, runs = [sys.executable, "-I", "-S", str(STAND_IN)], str(prepared)

    def start_stand_ins():  # in a worker, which cannot import this module
        from fdiv_gym.bench import process

        process.command = lambda place, resumed: [*program, str(place), f"{runs}/{place.name}"]

    handler = signal.getsignal(signal.SIGTERM)
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
        runtime_env={"worker_process_setup_hook": start_stand_ins},
    )  # fmt: skip
    yield ray
    ray.shutdown()
    signal.signal(signal.SIGTERM, handler)


def until(condition, what=lambda: ""):
    deadline = time.monotonic() + 300
    while not (found := condition()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)
    return found


def quiet(line):
    pass


@pytest.mark.slow
def test_cells_are_done_and_a_failing_one_is_told(cluster, cells, tmp_path):
    plan(tmp_path, cells[0], "fail", "fail")
    lines = []
    outcome = run_on_ray(cells, tmp_path, report=lines.append)
    assert (outcome.done, outcome.failed, outcome.interrupted) == ((cells[1].id,), (cells[0].id,), False)
    assert starts(tmp_path, cells[0]) == ["new fail"] * 2
    failed = read_record(tmp_path / cells[0].folder)
    assert (failed.status, failed.attempts, failed.final) == ("failed", 2, None)
    assert failed.error == "fail on 1 threads\nexit status 1"
    done = read_record(tmp_path / cells[1].folder)
    assert (done.key, done.status, done.attempts) == (cells[1].key, "done", 1)
    assert lines[0] == "2 cells: 0 done, 0 failed, 2 to run"
    assert lines[-1].startswith("1 done, 1 failed of 2: ")
    assert {path.name for path in tmp_path.iterdir()} == {"cells"}
    # What is done is not run again, and what failed only if it is asked for.
    assert run_on_ray(cells, tmp_path, report=quiet) == outcome
    assert run_on_ray(cells, tmp_path, retry_failed=True, report=quiet).failed == ()
    assert (len(starts(tmp_path, cells[0])), starts(tmp_path, cells[1])) == (3, ["new finish"])
    other = cells_of(objectives=[GRPO], seeds=[0], base__trainer={"max_grad_norm": 0.5})
    with pytest.raises(fg.ConfigError, match=r"another configuration.*rerun"):
        run_on_ray(other, tmp_path, report=quiet)
    assert run_on_ray(other, tmp_path, rerun=True, report=quiet).failed == (other[0].id,)
    assert "max_grad_norm" in read_record(tmp_path / other[0].folder).error


@pytest.mark.slow
def test_a_cell_whose_worker_is_killed_is_resumed_by_another(cluster, cells, tmp_path):
    plan(tmp_path, cells[0], "wait")
    killed = []

    def kill():
        until(lambda: (tmp_path / cells[0].folder / "run" / "config.json").exists())
        run = psutil.Process(pid_of(tmp_path, cells[0]))
        killed.extend([run.parent().name(), run])
        run.parent().kill()

    thread = threading.Thread(target=kill)
    thread.start()
    outcome = run_on_ray(cells, tmp_path, report=quiet)
    thread.join()
    assert set(outcome.done) == {cell.id for cell in cells}
    assert killed[0].startswith("ray::")
    # It had the worker's resources, and ended with it; nobody but the system's first process reaps it.
    assert not killed[1].is_running() or killed[1].status() == psutil.STATUS_ZOMBIE
    assert starts(tmp_path, cells[0]) == ["new wait", "resumed finish"]
    assert read_record(tmp_path / cells[0].folder).attempts == 2
    assert starts(tmp_path, cells[1]) == ["new finish"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_driver_cancels_tasks_and_lets_runs_save(number, cluster, cells, tmp_path):
    others = cells_of(objectives=[GRPO], seeds=[2, 3])
    for cell in cells:
        plan(tmp_path, cell, "wait")

    def stop():
        until(lambda: all((tmp_path / cell.folder / "run" / "config.json").exists() for cell in cells))
        os.kill(os.getpid(), number)

    thread, lines = threading.Thread(target=stop), []
    thread.start()
    outcome = run_on_ray([*cells, *others], tmp_path, report=lines.append)
    thread.join()
    assert outcome == Outcome((), (), True)
    assert sorted(line for line in lines if line.endswith(" stopped")) == sorted(
        f"{cell.id} stopped" for cell in [*cells, *others]
    )
    assert not any(psutil.pid_exists(pid_of(tmp_path, cell)) for cell in cells)
    assert [ended(tmp_path, cell) for cell in cells] == ["saved"] * 2
    assert [starts(tmp_path, cell) for cell in others] == [[], []]  # they had no core yet
    assert set(run_on_ray(cells, tmp_path, report=quiet).done) == {cell.id for cell in cells}
    assert [starts(tmp_path, cell) for cell in cells] == [["new wait", "resumed finish"]] * 2


@pytest.mark.slow
def test_a_cell_above_the_limit_on_memory_is_ended_as_a_failure(cluster, cells, tmp_path):
    plan(tmp_path, cells[0], "grow", "grow")
    outcome = run_on_ray(cells[:1], tmp_path, resources=Resources(memory_gb=0.15), report=quiet)
    assert outcome.failed == (cells[0].id,)
    assert "more than memory_gb = 0.15" in read_record(tmp_path / cells[0].folder).error


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [{"cpus": 1000}, {"gpus": 64}, {"memory_gb": 1e6}])
def test_what_no_node_has_is_refused(wanted, cluster, cells, tmp_path):
    with pytest.raises(fg.ConfigError, match="no node of the Ray cluster can ever run a cell"):
        run_on_ray(cells, tmp_path, resources=Resources(**wanted), report=quiet)


@pytest.mark.slow
def test_a_node_that_is_lost_for_long_is_an_error(cluster, cells, monkeypatch, tmp_path):
    nodes = cluster.nodes()
    plan(tmp_path, cells[0], "wait")
    monkeypatch.setattr(on_ray, "LOOK_S", 0.0)
    monkeypatch.setattr(on_ray, "PATIENCE_S", 1.0)
    seen = iter([nodes])
    monkeypatch.setattr(cluster, "nodes", lambda: next(seen, []))
    with pytest.raises(fg.ConfigError, match="no node of the Ray cluster"):
        run_on_ray(cells[:1], tmp_path, report=quiet)


@pytest.mark.slow
def test_a_folder_that_a_node_does_not_see_is_refused(cluster, cells, monkeypatch, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    (there / ".driver").write_text("of another driver")
    with pytest.raises(fg.ConfigError, match="does not see the folder"):
        run_cell(cells[0], str(there), "token", Resources(), False)
    monkeypatch.setattr(on_ray._Driver, "_submit", submit_with(there))
    with pytest.raises(fg.ConfigError, match="does not see the folder"):  # from the worker
        run_on_ray(cells[:1], tmp_path / "here", report=quiet)
    assert read_record(tmp_path / "here" / cells[0].folder) is None


def submit_with(folder):
    original = on_ray._Driver._submit

    def submit(self, task):
        self._folder = folder
        return original(self, task)

    return submit


@pytest.mark.slow
def test_a_task_that_runs_again_returns_the_record(cells, prepared, monkeypatch, tmp_path):
    monkeypatch.setattr(process, "command", lambda place, resumed: stand_in_command(place, prepared))
    (tmp_path / ".driver").write_text("token")
    record, seconds = run_cell(cells[0], str(tmp_path), "token", Resources(), False)
    assert (record.status, record.attempts) == ("done", 1)
    assert 0 < seconds < 60
    assert run_cell(cells[0], str(tmp_path), "token", Resources(), False) == (record, None)
    (tmp_path / cells[0].folder / RECORD).unlink()  # it was killed before it could write the record
    again, seconds = run_cell(cells[0], str(tmp_path), "token", Resources(), False)
    assert (again, seconds) == (record.model_copy(update={"attempts": 0}), None)
    assert starts(tmp_path, cells[0]) == ["new finish"]


FIRST, SECOND = (f"cells/grpo--addition--embedded--seed{seed}" for seed in (0, 1))  # of ray_driver.py
STEPS = 200


def start(folder):
    with open(folder / "out", "a") as out:
        return subprocess.Popen([sys.executable, SCRIPT, folder], stdout=out, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_a_driver_that_was_killed_goes_on_with_what_is_done(tmp_path):
    """Real runs, on a Ray that the driver starts."""
    short, long = tmp_path / FIRST, tmp_path / SECOND

    def output():
        return (tmp_path / "out").read_text()[-3000:]

    def steps():
        return len(RunFolder(long / "run").lines("metrics.jsonl"))

    driver = start(tmp_path)
    until(lambda: (steps() > 5 and read_record(short)) or driver.poll() is not None, output)
    assert driver.poll() is None, output()
    written = (short / RECORD).stat().st_mtime_ns
    run = psutil.Process(int((long / "run" / ".writer").read_text()))
    ray = [each for each in psutil.Process(driver.pid).children(recursive=True) if each != run]
    driver.kill()
    driver.wait()
    assert psutil.wait_procs([run], timeout=60) == ([run], [])  # with the Ray worker that had started it
    for each in ray:  # two processes of Ray itself would be there for another minute
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    reached = steps()
    assert reached < STEPS

    driver = start(tmp_path)
    assert driver.wait(300) == 0, output()
    assert json.loads(output().splitlines()[-1]) == [[short.name, long.name], [], False]
    assert (short / RECORD).stat().st_mtime_ns == written
    record = read_record(long)
    assert (record.attempts, record.budget.steps, record.budget.verifications) == (1, STEPS, 4 * STEPS)
    assert [line["step"] for line in RunFolder(long / "run").lines("metrics.jsonl")] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(
    ("address", "message"),
    [("nonsense", "host:port"), ("127.0.0.1:1", "no Ray cluster at"), ("a:999999", "no Ray cluster at")],
)
def test_an_address_without_a_cluster_is_refused(address, message):
    with pytest.raises(fg.ConfigError, match=message):
        refuse_unreachable(address)


def test_what_a_cluster_can_run_at_a_time():
    def node(alive=True, **resources):
        return {"Alive": alive, "Resources": resources}

    nodes = [node(CPU=8.0, GPU=2.0, memory=64e9), node(CPU=3.0, memory=8e9), node(alive=False, CPU=99.0)]
    assert Resources().at_a_time(nodes) == 11
    assert Resources(cpus=2).at_a_time(nodes) == 5
    assert Resources(cpus=0.1, memory_gb=8).at_a_time(nodes) == 9
    assert Resources(gpus=0.5).at_a_time(nodes) == 4
    assert Resources(cpus=1000).at_a_time(nodes) == 0


@pytest.mark.parametrize("wrong", [{"cpus": 0}, {"cpus": float("inf")}, {"gpus": -1}, {"gpus": 1.5}, {"memory_gb": 0}])
def test_wrong_resources_are_refused(wrong):
    with pytest.raises(fg.ConfigError, match=f"{next(iter(wrong))} = "):
        Resources(**wrong)


def test_a_missing_ray_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(fg.MissingExtraError, match=re.escape("pip install 'fdiv-gym[ray]'")):
        run_on_ray([], tmp_path)
