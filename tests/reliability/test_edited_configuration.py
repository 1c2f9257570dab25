"""A configuration that changes between start and resume is refused, or accepted and recorded."""

import pytest
from folder_harness import config_file
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.runs import RunFolder, load_config, resume_run, train


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that ended at step 2."""
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    train(load_config(config_file(tmp_path), ["trainer.steps=2"]), tmp_path / "run")
    return RunFolder(tmp_path / "run")


def edit(run: RunFolder, table: str | None, key: str, value: object) -> None:
    config = run.config()
    (config[table] if table else config)[key] = value
    run.write_json("config.json", config)


@pytest.mark.parametrize(
    ("table", "key", "value"), [(None, "seed", 7), ("trainer", "learning_rate", 0.1), ("objective", "beta", 0.7)]
)
def test_an_edit_is_refused_by_name_and_recorded_when_it_is_accepted(run, table, key, value):
    name = f"{table}.{key}" if table else key
    old = run.config()[table][key] if table else run.config()[key]
    edit(run, table, key, value)
    with pytest.raises(fg.ConfigError, match=rf"was edited since the run started: {name} \(.* -> {value}\); .*accept"):
        resume_run(run.path)
    assert "changes" not in run.read_json("provenance.json")
    resume_run(run.path, accept_changes=True)
    assert run.read_json("provenance.json")["changes"] == [{"step": 2, "changed": {name: [old, value]}}]
    resume_run(run.path)  # it is the run's own configuration now


def test_an_extended_run_equals_one_that_had_the_steps_from_the_start(run, tmp_path):
    done = CliRunner().invoke(app, ["train", "--resume", str(run.path), "--set", "trainer.steps=4"])
    assert done.exit_code == 0, done.output
    assert "nothing was left to do" not in done.output
    assert run.config()["trainer"]["steps"] == 4
    assert run.read_json("provenance.json")["changes"] == [{"step": 2, "changed": {"trainer.steps": [2, 4]}}]
    assert run.read_json("summary.json")["steps"] == 4
    train(load_config(config_file(tmp_path), ["trainer.steps=4"]), tmp_path / "straight")
    lines = [RunFolder(folder).lines("metrics.jsonl") for folder in (run.path, tmp_path / "straight")]
    plain = [
        [{k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in found] for found in lines
    ]
    assert plain[0] == plain[1]


def test_the_learning_rate_of_an_extended_run_is_that_of_the_new_schedule(tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    options = ['trainer.schedule="linear"', "trainer.warmup_steps=0", "trainer.learning_rate=1e-3"]
    config = load_config(config_file(tmp_path), [*options, "trainer.steps=2"])
    train(config, tmp_path / "run")
    resume_run(tmp_path / "run", ["trainer.steps=4", "trainer.adam_beta2=0.99"])
    rates = [line["learning_rate"] for line in RunFolder(tmp_path / "run").lines("metrics.jsonl")]
    assert rates == pytest.approx([1e-3, 0.5e-3, 0.5e-3, 0.25e-3])
    # 1 - step/2 for the first two, 1 - step/4 for the others
    resume_run(tmp_path / "run", ["trainer.steps=5", "trainer.learning_rate=2e-3"])
    assert RunFolder(tmp_path / "run").lines("metrics.jsonl")[-1]["learning_rate"] == pytest.approx(2e-3 / 5)


def test_a_change_that_cannot_be_resumed_leaves_the_folder_as_it_was(run):
    before = [(run.path / name).read_bytes() for name in ("config.json", "provenance.json", "metrics.jsonl")]
    with pytest.raises(fg.TrainerError, match="started with initial weights"):
        resume_run(run.path, ["model.embedded.seed=5"])
    assert [(run.path / n).read_bytes() for n in ("config.json", "provenance.json", "metrics.jsonl")] == before


def test_python_accepts_another_configuration_only_on_request(run, tmp_path):
    config = load_config(config_file(tmp_path), ["trainer.steps=3", "seed=4"])
    with pytest.raises(fg.ConfigError, match=r"another configuration: seed \(0 -> 4\), trainer.steps \(2 -> 3\)"):
        train(config, run.path, resume=True)
    assert train(config, run.path, resume=True, accept_changes=True).steps == 3
    assert set(run.read_json("provenance.json")["changes"][0]["changed"]) == {"seed", "trainer.steps"}
