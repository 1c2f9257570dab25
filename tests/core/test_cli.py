"""The command line in a terminal: one line and status 2 for errors, no traceback."""

import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

import fdiv_gym as fg
from fdiv_gym.cli.main import main


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def fdiv_gym(monkeypatch, capfd):
    """Run the command line in this process: what the console script does, without its start-up time."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fdiv-gym", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capfd.readouterr()
        return Done(exit_.value.code or 0, out, err)

    return run


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[env]\nid = "math/Addition-v0"\n')
    return path


def assert_one_clear_line(done, *parts):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr


def test_unknown_names_get_a_suggestion(fdiv_gym, config):
    done = fdiv_gym("train", config, "--set", "objective.divergence=pearsn")
    assert_one_clear_line(done, "unknown divergence 'pearsn'", "did you mean 'pearson'?")


def test_the_real_process_and_its_traceback_with_debug(config):
    command = [sys.executable, "-m", "fdiv_gym"]
    arguments = ["train", str(config), "--set", "trainer.group_size=1"]
    plain = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    assert (plain.returncode, plain.stderr.count("\n")) == (2, 1)
    debug = subprocess.run([*command, "--debug", *arguments], capture_output=True, text=True, timeout=120)
    assert debug.returncode not in (0, 2)
    assert "Traceback" in debug.stderr


def test_a_folder_that_holds_another_run(fdiv_gym, config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    done = fdiv_gym("train", config, "--output", tmp_path / "run")
    assert_one_clear_line(done, "already contains a run", "--resume")


def test_a_folder_that_holds_something_else(fdiv_gym, config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    assert_one_clear_line(fdiv_gym("train", config, "--output", tmp_path / "run"), "is not empty and contains no run")
    assert (tmp_path / "run" / "thesis.tex").read_text() == "precious"


def test_an_unwritable_place(fdiv_gym, config):
    assert_one_clear_line(fdiv_gym("train", config, "--output", "/dev/null/run"), "cannot write the run folder")


def test_a_model_folder_without_weights(fdiv_gym, config, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    done = fdiv_gym("train", config, "--output", tmp_path / "run", "--set", f'model.name_or_path="{model}"')
    assert_one_clear_line(done, "has no config.json")
    (model / "config.json").write_text("{}")
    done = fdiv_gym("train", config, "--output", tmp_path / "run2", "--set", f'model.name_or_path="{model}"')
    assert_one_clear_line(done, "has no weights")


def test_resume_excludes_a_config_file(fdiv_gym, config, tmp_path):
    assert_one_clear_line(fdiv_gym("train", config, "--resume", tmp_path), "omit the config file")
    assert_one_clear_line(fdiv_gym("train", "--resume", tmp_path), "there is no run in")


def test_help_shows_examples_and_options(fdiv_gym):
    done = fdiv_gym("train", "--help")
    assert done.returncode == 0
    assert "fdiv-gym train examples/addition.toml" in done.stdout
    assert "--set" in done.stdout


def test_names_with_brackets_are_printed_as_they_are(tmp_path, capsys):
    from fdiv_gym.cli.train import _show

    folder = tmp_path / "w[/x] [bold]y"
    summary = {
        "seconds": 1,
        "before": {"score/sampled": None, "score/greedy": 0.5},
        "after": {"score/sampled": 0.25, "score/greedy": 1.0},
    }
    _show(fg.RunResult(folder, "finished", 3, summary))
    shown = capsys.readouterr().out
    assert f"Write a report with: fdiv-gym report '{folder}'" in shown
    assert re.search(r"score/sampled +│ +- +│ +0.250 +│ +- ", shown)
    assert re.search(r"score/greedy +│ +0.500 +│ +1.000 +│ +\+0.500 ", shown)


def test_a_table_takes_no_name_and_env_means_environment():
    from typer.testing import CliRunner

    from fdiv_gym.cli.main import app

    found = CliRunner().invoke(app, ["describe", "model", "foo"])
    assert str(found.exception) == "the table 'model' takes no name: fdiv-gym describe model"
    assert "math/Addition-v0" in CliRunner().invoke(app, ["describe", "env", "math/Addition-v0"]).output
