"""Files that disappear, starts that fail and samples beyond the budget are all said, and leave nothing unexpected."""

from pathlib import Path

import pytest
from folder_harness import config_file

import fdiv_gym as fg
from fdiv_gym.runs import RunFolder, load_config, resume_run, train


class DeletesMetrics(fg.Callback):
    """Removes metrics.jsonl before step 3, as somebody else might."""

    class Options(fg.Options):
        """The run folder."""

        folder: str

    def before_rollouts(self, step: int) -> None:
        if step == 3:
            (Path(self.options.folder) / "metrics.jsonl").unlink()


def configuration(tmp_path, *options):
    return load_config(config_file(tmp_path), ["trainer.steps=4", *options]).resolved()


def test_metrics_that_are_deleted_during_a_run_are_noticed_at_once_and_in_the_summary(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("FDIV_GYM_QUIET", raising=False)
    values = configuration(tmp_path)
    values["callbacks"] = [{"name": DeletesMetrics, "folder": str(tmp_path / "run")}]
    result = train(values, tmp_path / "run")
    assert capsys.readouterr().out.count("metrics.jsonl was removed during the run") == 1
    assert result.status == "finished"
    assert result.summary["steps_without_metrics"] == [1, 2]
    train(values, tmp_path / "run", resume=True)
    assert "metrics.jsonl lacks 2 of 4 steps, from 1 to 2" in capsys.readouterr().out


def test_a_file_that_was_cut_is_noticed_and_one_that_grew_is_not(tmp_path):
    told: list[str] = []
    run = RunFolder(tmp_path, told.append)
    run.append("a.jsonl", {"step": 1})
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"step": 2}\n')
    run.append("a.jsonl", {"step": 3})
    assert told == []
    (tmp_path / "a.jsonl").write_text("{}\n")
    run.append("a.jsonl", {"step": 4})
    assert len(told) == 1
    assert "a.jsonl was cut during the run: 33 bytes" in told[0]
    plain = RunFolder(tmp_path)
    plain.append("a.jsonl", {"step": 5})
    (tmp_path / "a.jsonl").unlink()
    with pytest.warns(UserWarning, match="was removed during the run"):
        plain.append("a.jsonl", {"step": 6})


def test_a_start_that_fails_leaves_no_folder_and_no_tracker_files(tmp_path, monkeypatch):
    from accelerate.tracking import TensorBoardTracker

    started, start = [], TensorBoardTracker.start

    def starting(tracker):
        start(tracker)
        started.append(next(Path(tracker.logging_dir).iterdir()))

    monkeypatch.setattr(TensorBoardTracker, "start", starting)
    tracked = configuration(tmp_path, 'tracker.name="tensorboard"')
    with pytest.raises(fg.TrainerError, match="no model folder"):  # fails before the tracker starts
        train(tracked | {"model": {"name_or_path": "./nowhere"}}, tmp_path / "runs" / "one")
    assert not started
    monkeypatch.setattr("fdiv_gym_accelerate.evaluation.Evaluator.evaluate", lambda *_: 1 / 0)
    with pytest.raises(fg.TrainerError):  # fails in the first evaluation
        train(tracked, tmp_path / "runs" / "one")
    assert started
    assert not (tmp_path / "runs").exists()


def test_a_project_outside_the_run_folder_is_never_removed(tmp_path):
    (tmp_path / "precious").mkdir()
    for project in ("../precious", str(tmp_path / "precious"), ".", "", None):
        run = RunFolder.create(tmp_path / "run", {"tracker": {"project": project}})
        run.remove_if_nothing_happened()
        assert not run.path.exists()
    assert (tmp_path / "precious").is_dir()


def test_samples_stop_at_their_budget_which_is_said_once(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("FDIV_GYM_QUIET", raising=False)
    train(configuration(tmp_path), tmp_path / "all")
    size = RunFolder(tmp_path / "all").size("samples.jsonl")
    assert "samples_max_mb" not in capsys.readouterr().out
    budget = size / 2e6
    train(configuration(tmp_path, f"trainer.samples_max_mb={budget}"), tmp_path / "some")
    assert capsys.readouterr().out.count("trainer.samples_max_mb): no more samples are kept") == 1
    kept = (tmp_path / "some" / "samples.jsonl").read_bytes()
    assert size / 2 <= len(kept) < size
    assert (tmp_path / "all" / "samples.jsonl").read_bytes().startswith(kept)
    resume_run(tmp_path / "some")
    assert (tmp_path / "some" / "samples.jsonl").read_bytes() == kept
