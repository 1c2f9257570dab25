"""``eval`` that is told to end: the command itself."""

import signal
import time

import pytest
from folder_harness import config_file, end, finish, start

from fdiv_gym.runs import RunFolder

pytestmark = pytest.mark.slow


def wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def told_to_end(process, number):
    """The last line of a command that gets a signal."""
    try:
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        end(process)
    assert process.returncode == 130, errors
    return errors.strip().splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_evaluation_that_is_told_to_end_goes_on_where_it_was(tmp_path, number):
    run = tmp_path / "run"
    trained = finish("train", config_file(tmp_path), "--output", run, "--set", "trainer.steps=2")
    assert trained.returncode == 0, trained.stderr
    command = ["eval", run, "--tasks", "20", "--samples", "32", "--batch", "1"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert finish(*command, "--output", whole).returncode == 0
    process = start(*command, "--output", cut)
    wait_for(lambda: (cut / "samples.jsonl").exists(), process)
    assert told_to_end(process, number) == f"interrupted; run the same command again to resume ({cut})"
    assert 0 < len(RunFolder(cut).lines("samples.jsonl")) < 20 * 32
    assert not (cut / ".writer").exists()
    again = finish(*command, "--output", cut)
    assert again.returncode == 0, again.stderr
    assert RunFolder(cut).lines("samples.jsonl") == RunFolder(whole).lines("samples.jsonl")
