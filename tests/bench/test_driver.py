"""The driver with planted results: order, resumption, refusals, what is told; and the command's exit statuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bench_harness import Planted, small
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.bench import driver, plan_bench, run_bench
from fdiv_gym.bench.run_file import toml_text
from fdiv_gym.cli.main import app
from fdiv_gym.errors import BenchError

pytestmark = pytest.mark.usefixtures("without_figures")

OFF = {"updates": False, "untrained": False, "drift": False, "sharpening": False, "length": False}
TUNING = {"seeds": [7], "values": {"trainer.learning_rate": [1e-4, 1e-3]}}


def matrix_file(folder, **changes):
    path = folder / "matrix.toml"
    values = small(**{"controls": OFF, "tuning": TUNING, **changes})
    path.write_text(toml_text(values))
    return path


@pytest.fixture
def planted(monkeypatch):
    """In place of the executor; see ``Planted``."""
    found = Planted()
    monkeypatch.setattr(driver, "execute", found)
    return found


def counts(bench):
    return {kind: (count.cells, count.done, count.failed) for kind, count in bench.counts.items()}


def test_a_bench_tunes_runs_and_is_skipped_when_it_is_done(tmp_path, planted):
    path, folder, lines = matrix_file(tmp_path), tmp_path / "bench", []
    done = run_bench(path, folder, report=lines.append, command=["fdiv-gym", "bench"], limits={"processes": 2})
    assert counts(done) == {"tuning": (4, 4, 0), "table": (4, 4, 0), "control": (2, 2, 0)}
    assert (done.failed, done.interrupted, done.trials) == ((), False, 2)
    assert [sorted(set(kinds)) for kinds, *_ in planted.calls] == [["tuning"], ["control", "table"]]
    assert [limits.processes for _, limits, *_ in planted.calls] == [2, 2]
    assert (folder / "matrix.toml").read_bytes() == path.read_bytes()
    assert "chosen for grpo: trainer.learning_rate = 0.001" in lines
    records = [json.loads(p.read_text()) for p in folder.glob("c*/*/record.json")]
    assert {record["rate"] for record in records} == {1e-3}
    record = json.loads((folder / "bench.json").read_text())
    assert record["command"] == ["fdiv-gym", "bench"]
    assert {"torch", "numpy", "scipy"} <= record["versions"].keys()
    assert record["hardware"]["cores"] >= 1
    (decoding,) = record["decoding"]
    assert (decoding["environment"], decoding["engine"]["max_new_tokens"], decoding["engine"]["temperature"]) == (
        "addition", 4, 1.0,
    )  # fmt: skip
    assert decoding["prompt"]["chat"] == "auto"
    begun = (folder / "bench.json").read_bytes()
    planted.run.clear()
    assert counts(run_bench(path, folder, report=lines.append)) == counts(done)
    assert planted.run == []
    assert (folder / "bench.json").read_bytes() == begun


def test_a_bench_goes_on_where_it_was_interrupted(tmp_path, planted):
    path, folder = matrix_file(tmp_path), tmp_path / "bench"
    planted.stop_before = "grpo--addition--embedded--seed7--trial1"
    first = run_bench(path, folder, report=lambda text: None)
    assert first.interrupted
    assert counts(first) == {"tuning": (4, 3, 0), "table": (4, 0, 0), "control": (2, 0, 0)}
    assert not (folder / "tuning.json").exists()
    planted.stop_before = "grpo--addition--embedded--seed1"
    second = run_bench(path, folder, report=lambda text: None)
    assert second.interrupted
    assert counts(second) == {"tuning": (4, 4, 0), "table": (4, 3, 0), "control": (2, 0, 0)}
    planted.stop_before = ""
    third = run_bench(path, folder, report=lambda text: None)
    assert not third.interrupted
    assert len(planted.run) == len(set(planted.run)) == 10


def test_failed_cells_are_told_and_tried_again_when_asked(tmp_path, planted):
    path, folder = matrix_file(tmp_path), tmp_path / "bench"
    planted.failing = ("grpo--addition--embedded--seed0", "grpo--addition--embedded--seed7--trial1")
    found = run_bench(path, folder, report=lambda text: None)
    assert counts(found) == {"tuning": (4, 3, 1), "table": (4, 3, 1), "control": (2, 2, 0)}
    assert set(found.failed) == set(planted.failing)
    assert json.loads((folder / "tuning.json").read_text())["chosen"]["grpo"] == {"trainer.learning_rate": 1e-4}
    planted.failing = ()
    assert run_bench(path, folder, report=lambda text: None).failed == found.failed


def test_another_matrix_is_refused_by_what_differs(tmp_path, planted):
    path, folder = matrix_file(tmp_path), tmp_path / "bench"
    run_bench(path, folder, report=lambda text: None)
    kept = path.read_bytes()
    matrix_file(tmp_path, budget={"steps": 3}, base__trainer={"max_grad_norm": 0.5})
    with pytest.raises(fg.ConfigError, match=r"base\.trainer\.max_grad_norm .*budget\.steps \(2 -> 3\)"):
        run_bench(path, folder, report=lambda text: None)
    objectives = [{"label": "grpo", "objective": {"name": "grpo", "beta": 0.5}}]
    matrix_file(tmp_path, objectives=objectives)
    with pytest.raises(fg.ConfigError, match=r"objectives\.grpo\.objective\.beta \('absent' -> 0\.5\)"):
        run_bench(path, folder, report=lambda text: None)
    assert (folder / "matrix.toml").read_bytes() == kept
    # Where cells run is no part of the comparison, and neither is a comment.
    path.write_text("# the same\n" + kept.decode() + "\n[run]\nprocesses = 2\n")
    run_bench(path, folder, report=lambda text: None)
    assert planted.calls[-1][1].processes == 2


def test_a_folder_of_something_else_is_refused(tmp_path, planted):
    path, folder = matrix_file(tmp_path), tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("")
    with pytest.raises(fg.ConfigError, match=r"something other than a bench \(chapter\.tex\)"):
        run_bench(path, folder)
    assert [p.name for p in folder.iterdir()] == ["chapter.tex"]


def test_what_would_fail_late_fails_before_anything_is_written(tmp_path, planted):
    folder = tmp_path / "bench"
    few = [{"label": "addition", "env": {"id": "math/Addition-v0", "digits": 1, "heldout_tasks": 3}}]
    for changes, error in (
        ({"environments": few}, BenchError),
        ({"tuning": {"seeds": [7], "values": {"trainer.group_size": [2]}}}, fg.ConfigError),
        ({"objectives": [{"label": "a", "objective": {"name": "gpro"}}]}, fg.FdivGymError),
    ):
        for start in (plan_bench, run_bench):
            with pytest.raises(error):
                start(matrix_file(tmp_path, **changes), folder)
    assert not folder.exists()
    assert planted.calls == []


def test_a_later_start_elsewhere_is_recorded(tmp_path, planted, monkeypatch):
    path, folder = matrix_file(tmp_path, tuning=None), tmp_path / "bench"
    run_bench(path, folder, report=lambda text: None)
    first = json.loads((folder / "bench.json").read_text())
    from fdiv_gym.bench import start as module

    monkeypatch.setattr(module, "versions", lambda: {"torch": "9"})
    run_bench(path, folder, report=lambda text: None, command=["again"])
    second = json.loads((folder / "bench.json").read_text())
    assert [start["command"] for start in second.pop("later")] == [["again"]]
    assert second == first


def test_a_plan_starts_and_writes_nothing(tmp_path, planted):
    path, folder = matrix_file(tmp_path), tmp_path / "bench"
    planned = plan_bench(path, folder)
    assert counts(planned) == {"tuning": (4, 0, 0), "table": (4, 0, 0), "control": (2, 0, 0)}
    assert (planned.trials, planned.ids["control"][1]) == (2, "f-grpo-pearson--addition--embedded--seed0--again")
    assert not folder.exists()
    run_bench(path, folder, report=lambda text: None)
    assert counts(plan_bench(path, folder)) == {"tuning": (4, 4, 0), "table": (4, 4, 0), "control": (2, 2, 0)}


def test_the_command_tells_what_is_done_by_its_exit_status(tmp_path, planted):
    path, folder = matrix_file(tmp_path), tmp_path / "bench"

    def command(*more):
        result = CliRunner().invoke(app, ["bench", str(path), "--output", str(folder), *more])
        return result.exit_code, result.output

    status, text = command("--dry-run")
    assert status == 0
    assert "2 trials for each objective" in text
    assert "table: grpo--addition--embedded--seed1" in text
    assert not folder.exists()
    planted.stop_before = "grpo--addition--embedded--seed1"
    status, text = command("--processes", "1", "--memory-gb", "2")
    assert status == 130
    assert f"go on with: fdiv-gym bench {path} --output {folder}" in text
    assert (planted.calls[0][1].processes, planted.calls[0][1].memory_gb) == (1, 2.0)
    planted.stop_before, planted.failing = "", ("grpo--addition--embedded--seed1",)
    status, text = command()
    assert status == 1
    assert "failed: grpo--addition--embedded--seed1" in text
    assert "--retry-failed" in text
    planted.failing = ()
    assert command("--retry-failed")[0] == 0
    assert planted.calls[-1][3] is True


PHASES = ("tuning: ", "table: ", "writing ")
"""The lines that stand before the tuning, between it and the table, and after the last cell."""


@pytest.mark.slow
def test_a_driver_holds_the_folder_from_its_start_to_its_end(tmp_path, planted):
    path, folder = matrix_file(tmp_path), tmp_path / "bench"
    script = Path(__file__).with_name("other_driver.py")
    other = subprocess.Popen(
        [sys.executable, script, path, folder, *PHASES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        for phase in PHASES:
            assert other.stdout.readline().startswith(phase)
            refused = f"process {other.pid} is writing into {folder}: wait until it ends, or choose another folder"
            with pytest.raises(fg.ConfigError, match=f"^{re.escape(refused)}$"):
                run_bench(path, folder, report=lambda text: None)
            held = sorted(folder.rglob("*"))
            assert plan_bench(path, folder).counts["table"].done == (4 if phase == "writing " else 0)
            assert sorted(folder.rglob("*")) == held
            if phase != PHASES[-1]:
                print(file=other.stdin, flush=True)
    finally:
        other.kill()
        other.communicate()
    assert planted.run == []
    # The lock has ended with the process, and nothing that it had done is done again.
    assert counts(run_bench(path, folder, report=lambda text: None))["table"] == (4, 4, 0)
    assert planted.run == []
    assert not (folder / ".writer").exists()


def test_wrong_uses_of_the_command_are_errors(tmp_path, planted):
    path = matrix_file(tmp_path)
    for arguments, message in (
        (["--dry-run", "--rerun"], "starts nothing"),
        (["--processes", "0"], "processes"),
    ):
        result = CliRunner().invoke(app, ["bench", str(path), "--output", str(tmp_path / "b"), *arguments])
        assert isinstance(result.exception, fg.ConfigError), result.output
        assert message in str(result.exception)
    assert not (tmp_path / "b").exists()
