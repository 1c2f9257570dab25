"""What a tracker receives of a preference model's run, read back from TensorBoard's files."""

from pathlib import Path

import pytest

import fdiv_gym as fg
from fdiv_gym.runs import EVALUATIONS, METRICS, RunFolder, load_config, resume_run

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "gpm.toml"
TINY = [
    "model.embedded.heads=1", "preferences.pairs_per_step=6", "trainer.steps=4", "trainer.evaluate_every=2",
    "trainer.checkpoint_every=2", "tracker.name=tensorboard", "tracker.project=board",
]  # fmt: skip


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    monkeypatch.chdir(ROOT)


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


@pytest.mark.slow
def test_tensorboard_holds_every_metric_of_steps_and_evaluations(tmp_path):
    run = RunFolder(fg.train(load_config(EXAMPLE, TINY), tmp_path / "run").folder)
    expected = {}
    for line in run.lines(METRICS):
        for name in line.keys() - {"step"}:
            expected.setdefault(name, []).append((line["step"], pytest.approx(line[name], rel=1e-6)))
    for line in run.lines(EVALUATIONS):
        for name in line.keys() - {"step"}:
            if not name.startswith("dimension/"):
                expected.setdefault(name, []).append((line["step"], pytest.approx(line[name], rel=1e-6)))
    found = scalars(run.path / "board")
    assert found == expected
    assert [step for step, _ in found["heldout/accuracy"]] == [0, 2, 4]
    assert [step for step, _ in found["dimension/0/share"]] == [1, 2, 3, 4]
    resume_run(run.path, ["trainer.steps=5"])
    assert [step for step, _ in scalars(run.path / "board")["loss"]] == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_tracker_that_fails_is_dropped_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    from accelerate.tracking import TensorBoardTracker

    def failing(*_, **__):
        raise ConnectionError("no answer from the server")

    monkeypatch.setattr(TensorBoardTracker, "log", failing)
    monkeypatch.setenv("FDIV_GYM_QUIET", "")
    run = RunFolder(fg.train(load_config(EXAMPLE, TINY), tmp_path / "run").folder)
    assert [line["step"] for line in run.lines(METRICS)] == [1, 2, 3, 4]
    assert capsys.readouterr().out.count("no answer from the server; it gets nothing more") == 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (["tracker.name=aim"], fg.TrainerError, "pip install aim"),
        (["tracker.name=tensorbord"], fg.ConfigError, "did you mean 'tensorboard'"),
        (["tracker.project=../out"], fg.ConfigError, "outside of the run folder"),
    ],
)
def test_a_tracker_that_cannot_work_is_refused_before_anything_starts(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        fg.train(load_config(EXAMPLE, [*TINY, *changes]), tmp_path / "run")
    assert not (tmp_path / "run").exists()
