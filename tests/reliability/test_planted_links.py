"""A run folder of another person with links, devices or pipes in the place of files."""

import json
import os

import pytest

import fdiv_gym as fg
from fdiv_gym.evaluation.folder import complete_records
from fdiv_gym.manifest import MANIFEST, damage_of
from fdiv_gym.runs.folder import EVALUATIONS, METRICS, SAMPLES, WRITER, RunFolder
from fdiv_gym.runs.lock import locked
from fdiv_gym.runs.report import _write


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "bashrc"
    file.write_text("mine")
    return file


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return RunFolder(folder)


def test_a_truncated_file_is_not_written_through_a_link(run, mine):
    (run.path / METRICS).write_text('{"step": 1, "note": "$(hostile)"}\n')
    (run.path / f".{METRICS}").symlink_to(mine)
    with pytest.raises(fg.TrainerError, match=r"cannot write metrics.jsonl .* is a symbolic link"):
        run.keep_until(1)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("exists", [True, False])
def test_nothing_is_appended_through_a_link(run, mine, exists):
    if not exists:
        mine.unlink()
    (run.path / EVALUATIONS).symlink_to(mine)
    with pytest.raises(fg.TrainerError, match=r"evaluations.jsonl is a symbolic link, which is not followed"):
        run.append(EVALUATIONS, {"step": 1})
    assert mine.exists() is exists
    assert not exists or mine.read_text() == "mine"


def test_a_json_file_is_not_written_through_a_link(run, mine):
    (run.path / f".summary.json.{os.getpid()}").symlink_to(mine)
    with pytest.raises(fg.TrainerError, match="is a symbolic link"):
        run.write_json("summary.json", {})
    assert mine.read_text() == "mine"


def test_the_lock_replaces_a_link(run, mine):
    (run.path / WRITER).symlink_to(mine)
    with locked(run.path, "the run folder", "choose another"):
        assert (run.path / WRITER).read_text() == f"{os.getpid()}\n"
    assert mine.read_text() == "mine"


def test_an_evaluation_is_not_cut_through_a_link(run, mine):
    (run.path / SAMPLES).write_text("")
    (run.path / f".{SAMPLES}").symlink_to(mine)
    plan = type("Plan", (), {"samples": 1, "batch": 1})
    with pytest.raises(fg.TrainerError, match="is a symbolic link"):
        complete_records(run, [], plan)
    assert mine.read_text() == "mine"


def test_a_report_is_not_written_through_a_link(run, mine):
    (run.path / f".report.html.{os.getpid()}").symlink_to(mine)
    with pytest.raises(fg.TrainerError, match="is a symbolic link"):
        _write("<p>", run.path / "report.html")
    assert mine.read_text() == "mine"
    assert _write("\ud83d", run.path / "report.html").read_text() == "\\ud83d"


@pytest.mark.parametrize("named", ["/dev/zero", "pipe"])
def test_a_manifest_cannot_name_what_has_no_end(tmp_path, named):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / MANIFEST).write_text(json.dumps({"sha256": {named: "0"}}))
    assert damage_of(tmp_path) == f"{named} cannot be read (it is missing, or no file)"
