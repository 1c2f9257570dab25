"""A finished run, and copies of it to damage."""

import shutil
import signal

import pytest
from folder_harness import config_file

from fdiv_gym.runs import RunFolder, load_config, train


@pytest.fixture(autouse=True)
def hangups_are_not_ignored():
    """A terminal's hang-up ends the commands of these tests also where ``nohup`` started pytest."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, previous)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, cache_folder):
    """A run of four steps with checkpoints at 2 and 4; tests change copies of it only."""
    folder = tmp_path_factory.mktemp("finished")
    train(load_config(config_file(folder), ["trainer.steps=4"]), folder / "run")
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    """A copy of it, in a process whose runs print their messages."""
    monkeypatch.delenv("FDIV_GYM_QUIET", raising=False)
    return RunFolder(shutil.copytree(finished, tmp_path / "run"))
