"""Pipes, links and devices in a run folder that is another person's: nothing is waited for or written outside it."""

import json
import os
import shutil
from pathlib import Path

import pytest
from folder_harness import config_file

import fdiv_gym as fg
from fdiv_gym.evaluation import rescore
from fdiv_gym.manifest import MANIFEST, damage_of, seal
from fdiv_gym.runs import RunFolder, load_config, resume_run, train, write_report
from fdiv_gym.runs.lock import WRITER, locked

RECORDS = ("metrics.jsonl", "samples.jsonl", "evaluations.jsonl", "timeouts.jsonl")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache_folder):
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("strange")
    train(load_config(config_file(folder), ["trainer.steps=2"]), folder / "run")
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    return RunFolder(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def precious(tmp_path):
    """A file outside the run folder."""
    path = tmp_path / "precious"
    path.write_text("precious")
    return path


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["provenance.json", "summary.json", *RECORDS])
def test_a_pipe_or_a_device_instead_of_a_file_is_one_clear_error(run, name):
    read = run.read_json if name.endswith(".json") else run.lines
    pipe(run.path / name)
    with pytest.raises(fg.TrainerError, match=f"{name} cannot be read: .*it is not a regular file"):
        read(name)
    with pytest.raises(fg.TrainerError, match=f"cannot write {name} in .*: it is a link or a pipe"):
        run.append(name, {"step": 1})
    (run.path / name).unlink()
    (run.path / name).symlink_to("/dev/zero")
    with pytest.raises(fg.TrainerError, match=f"{name} cannot be read: .*it is not a regular file"):
        read(name)


def test_no_command_waits_for_a_pipe(run):
    pipe(run.path / "samples.jsonl")
    for command in (write_report, rescore, resume_run):
        with pytest.raises(fg.TrainerError, match=r"samples\.jsonl cannot be read"):
            command(run.path)


def test_a_pipe_in_a_checkpoint_is_damage(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"state")
    seal(tmp_path)
    pipe(tmp_path / "added_tokens.json")
    assert damage_of(tmp_path) == "added_tokens.json is not a regular file"
    (tmp_path / "added_tokens.json").unlink()
    pipe(tmp_path / "state.pt")
    assert "state.pt cannot be read" in damage_of(tmp_path)
    pipe(tmp_path / MANIFEST)
    assert "cannot be read" in damage_of(tmp_path)
    (tmp_path / MANIFEST).unlink()
    (tmp_path / MANIFEST).write_text(json.dumps({"sha256": {"/dev/zero": "0"}}))
    assert "/dev/zero cannot be read" in damage_of(tmp_path)


def test_a_resume_writes_nothing_through_links(run, precious):
    for name in RECORDS:
        (run.path / f".{name}").symlink_to(precious)
    (run.path / WRITER).symlink_to(precious)
    (run.path / f".config.json.{os.getpid()}").symlink_to(precious)
    resume_run(run.path, ["trainer.steps=3"])
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("name", RECORDS)
def test_no_line_is_appended_to_a_linked_file(run, tmp_path, name):
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).symlink_to(tmp_path / "outside")
    with pytest.raises(fg.TrainerError, match=f"cannot write {name} in .*: it is a link"):
        run.append(name, {"step": 3})
    assert not (tmp_path / "outside").exists()


def test_a_linked_file_can_be_read(run, tmp_path):
    (run.path / "metrics.jsonl").rename(tmp_path / "blob")
    (run.path / "metrics.jsonl").symlink_to(tmp_path / "blob")
    assert [line["step"] for line in run.lines("metrics.jsonl")] == [1, 2]


def test_checkpoints_of_another_folder_are_never_removed(run, tmp_path):
    theirs = (run.path / "checkpoints").rename(tmp_path / "theirs")
    (run.path / "checkpoints").symlink_to(theirs)
    with pytest.raises(fg.TrainerError, match=f"checkpoints is a link to {theirs}, where a resumed run would remove"):
        resume_run(run.path, ["trainer.steps=8"])
    assert [path.name for path in theirs.iterdir()] == ["step-000002"]


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "huge"])
def test_a_strange_file_of_the_writer_is_no_obstacle(tmp_path, precious, kind):
    place = tmp_path / "run" / WRITER
    place.parent.mkdir()
    if kind == "pipe":
        pipe(place)
    elif kind == "link":
        place.symlink_to(precious)
    elif kind == "folder":
        place.mkdir()
    else:
        place.touch()
        os.truncate(place, 1 << 40)
    with locked(tmp_path / "run", "the run folder", "choose another"):
        again = locked(tmp_path / "run", "the run folder", "choose another")
        with pytest.raises(fg.ConfigError, match="is writing into"), again:
            pass
    assert precious.read_text() == "precious"


def test_a_file_system_without_locks_is_not_taken_for_another_writer(tmp_path, monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no_locks)
    held = locked(tmp_path / "run", "the run folder", "choose another run folder")
    with pytest.raises(fg.TrainerError, match=r"cannot lock the run folder .*: Operation not supported"), held:
        pass


def test_a_lone_surrogate_in_a_kept_line_survives_a_resume(run):
    run.append("samples.jsonl", {"step": 2, "response": "cut \ud83d"})
    run.keep_until(2)
    assert run.lines("samples.jsonl")[-1]["response"] == "cut \ud83d"
