"""A plugin that scores in the process of the run ends it with its name; a worker ends with its parent."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fdiv_gym.rollouts.isolation.exits import exit_is_no_success

SCRIPT = Path(__file__).with_name("scoring_script.py")


def script(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("response", "status", "message"),
    [
        (
            "backtracks",
            -9,
            "environment 'Words': scoring 1 responses (env.score_deadline_s and a share for each) takes",
        ),
        ("exits", 1, "environment 'Words' called os._exit(0): the run ends here"),
    ],
)
def test_an_instance_that_does_not_return_ends_the_run_with_its_name(tmp_path, response, status, message):
    process = script("here", response, tmp_path / "note")
    out, err = process.communicate(timeout=120)
    assert process.returncode == status
    assert message in err
    assert err.count("scores in the process of the run ('Words' was built from its class, not by its name)") == 1
    assert out == ""


def test_a_worker_ends_with_its_parent_in_the_middle_of_a_batch(tmp_path):
    note = tmp_path / "note"
    process = script("worker", "backtracks", note)
    try:
        wait_until(note.exists)
        wait_until(lambda: note.read_text() != "")
    finally:
        process.kill()
        process.communicate()
    worker = Path("/proc", note.read_text())
    wait_until(lambda: not worker.exists())


@pytest.mark.slow
def test_a_run_whose_plugin_ends_the_process_is_not_finished(tmp_path):
    process = script("train", tmp_path / "run")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "called os._exit(0): the run ends here" in err
    assert not (tmp_path / "run" / "summary.json").exists()


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_threads_that_overlap_restore_the_exit():
    leave = os._exit
    one, other = exit_is_no_success("one"), exit_is_no_success("other")
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        first.enter_context(one)
        second.enter_context(other)
        first.close()
        assert os._exit is not leave
    assert os._exit is leave
