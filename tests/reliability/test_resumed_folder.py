"""What a resume finds in its folder: a missing record, a checkpoint under another name, a summary that is over."""

import shutil

import pytest

import fdiv_gym as fg
from fdiv_gym.runs import resume_run, write_report


def test_a_run_with_checkpoints_and_without_its_record_is_refused(run):
    (run.path / "provenance.json").unlink()
    with pytest.raises(fg.ConfigError, match=r"provenance\.json does not tell what the run started with"):
        resume_run(run.path)
    assert resume_run(run.path, accept_changes=True).steps == 4
    resume_run(run.path)  # it is recorded now


def test_a_checkpoint_under_the_name_of_another_step_is_refused(run):
    checkpoints = run.path / "checkpoints"
    (checkpoints / "step-000004").rename(checkpoints / "step-000009")
    with pytest.raises(fg.TrainerError, match=r"step-000009 is not of the step in its name: its state is of step 4"):
        resume_run(run.path, ["trainer.steps=12"])
    assert len(run.lines("metrics.jsonl")) == 4


def test_an_extended_run_has_no_summary_until_it_ends_again(run, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr("fdiv_gym_accelerate.run.Run.train_step", killed)
    with pytest.raises(fg.TrainerError, match="Killed"):
        resume_run(run.path, ["trainer.steps=8"])
    assert run.read_json("summary.json") == {}
    assert "no summary.json: running or killed; 4 of 8 steps recorded" in write_report(run.path).read_text()


def test_a_checkpoint_of_the_present_step_is_not_written_again(run):
    """A kill between the removal of the old and the name of the new one would lose both."""
    place = run.path / "checkpoints" / "step-000004"
    before = place.stat().st_ino
    resume_run(run.path)
    assert place.stat().st_ino == before


def test_a_resume_without_a_checkpoint_says_what_it_removes(run, capsys):
    for checkpoint in run.checkpoints():
        shutil.rmtree(checkpoint)
    resume_run(run.path)
    assert "there is no checkpoint: the run starts again, its 4 recorded steps are removed" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluations.jsonl", "samples.jsonl"])
def test_a_line_without_a_step_is_damage(run, name):
    run.append(name, {"score/sampled": 1.0})
    with pytest.raises(fg.TrainerError, match=rf"{name} is damaged: the step of a line is None, not a number"):
        run.keep_until(4)


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluations.jsonl"])
def test_an_integer_beyond_the_largest_float_is_no_traceback_in_the_report(run, name):
    huge = 10**400
    run.append(name, {"step": 4, "reward/mean": huge, "score/sampled": huge})
    write_report(run.path)
    run.append(name, {"step": huge})
    with pytest.raises(fg.TrainerError, match=rf"{name}, record \d+ is damaged: it has no step"):
        write_report(run.path)
