"""One process at a time writes into a run folder; readers and killed processes are no obstacle."""

import multiprocessing
import os
import time

import pytest
from folder_harness import config_file, end, finish, start, wait_for_steps

import fdiv_gym as fg
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.runs.lock import WRITER, locked

ADVICE = "choose another --output"


def test_a_second_writer_is_refused_and_a_killed_one_is_not_waited_for(tmp_path):
    config, folder = config_file(tmp_path), tmp_path / "run"
    first = start("train", config, "--output", folder)
    try:
        wait_for_steps(folder, 3, first)
        for arguments in (["--resume", folder], [config, "--output", folder]):
            second = finish("train", *arguments)
            assert second.returncode == 2
            assert f"process {first.pid} is writing into {folder}" in " ".join(second.stderr.split())
        report = finish("report", folder)
        assert report.returncode == 0, report.stderr
    finally:
        end(first)
    steps = [line["step"] for line in RunFolder(folder).lines("metrics.jsonl")]
    assert steps == list(range(1, len(steps) + 1))
    again = start("train", "--resume", folder)
    try:
        wait_for_steps(folder, len(steps) + 1, again)
        steps = [line["step"] for line in RunFolder(folder).lines("metrics.jsonl")]
        assert steps == list(range(1, len(steps) + 1))
    finally:
        end(again)


def _hold(folder, ready):
    with locked(folder, "the run folder", ADVICE):
        if os.fork() == 0:  # a worker that outlives the killed process
            ready.set()  # from here, when it has let go of the lock
            time.sleep(30)
            os._exit(0)
        time.sleep(30)


def test_a_forked_worker_does_not_keep_the_lock_of_a_killed_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "run", ready))
    holder.start()
    assert ready.wait(60)
    refused = pytest.raises(fg.ConfigError, match=f"process {holder.pid} is writing")
    with refused, locked(tmp_path / "run", "the run folder", ADVICE):
        pass
    holder.kill()
    holder.join()
    with locked(tmp_path / "run", "the run folder", ADVICE):
        assert (tmp_path / "run" / WRITER).read_text() == f"{os.getpid()}\n"


def test_a_folder_that_stays_empty_is_removed_with_its_new_parents(tmp_path):
    with locked(tmp_path / "a" / "b", "the run folder", ADVICE):
        assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a").exists()
    (tmp_path / "kept").mkdir()
    with locked(tmp_path / "kept" / "new", "the run folder", ADVICE):
        (tmp_path / "kept" / "new" / "file").touch()
    assert [path.name for path in (tmp_path / "kept" / "new").iterdir()] == ["file"]


def test_a_rank_other_than_the_first_needs_no_lock(tmp_path, monkeypatch):
    from fdiv_gym.runs import launch

    with launch._locked(tmp_path):
        monkeypatch.setenv("RANK", "1")
        with launch._locked(tmp_path):
            pass
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(fg.ConfigError, match="is writing into"), launch._locked(tmp_path):
            pass
