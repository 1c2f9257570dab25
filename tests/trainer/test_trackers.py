"""What trackers receive: metrics and tables of samples, read back from TensorBoard's files; the others are stubs."""

from __future__ import annotations

import sys
import types

import pytest
from conftest_trainer import tiny_config, train

import fdiv_gym as fg
from fdiv_gym.runs import TrackerConfig
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.runs.trackers import check_tracker, finish_trackers
from fdiv_gym_accelerate.tables import COLUMNS, NAME, WRITERS, markdown_table, rows_of, send_samples, without_tables

TRANSCRIPT = fg.Transcript((fg.Message("user", "1 | 2\n= "), fg.Message("assistant", "<b>*3*</b>")), 1)
SAMPLE = {
    "verdict": {"score": None, "status": "timeout"}, "turns": 1, "truncated": False, "stop_reason": "eos", "tokens": 3,
    "transcript": TRANSCRIPT.to_dict(),
}  # fmt: skip


def read_back(folder):
    """The tags, scalars and texts of TensorBoard's files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    found.Reload()
    scalars = {tag: {e.step: e.value for e in found.Scalars(tag)} for tag in found.Tags()["scalars"]}
    tags = found.Tags()["tensors"]
    texts = {tag: {e.step: e.tensor_proto.string_val[0].decode() for e in found.Tensors(tag)} for tag in tags}
    return scalars, texts


def test_tensorboard_holds_every_metric_and_the_samples(tmp_path):
    config = tiny_config(tracker={"name": "tensorboard", "project": "board", "samples_every": 2})
    run = RunFolder(train(config, tmp_path / "run").folder)
    scalars, texts = read_back(run.path / "board")
    lines = run.lines("metrics.jsonl")
    for line in lines:
        for key, value in line.items():
            if key not in ("step", "events"):
                assert scalars[key][line["step"]] == pytest.approx(value, rel=1e-6), key
    (table,) = texts.values()
    assert list(texts) == [f"{NAME}/text_summary"]
    assert list(table) == [2, 4]
    kept = [s for s in run.lines("samples.jsonl") if s["split"] == "train" and s["step"] == 4]
    assert table[4].count("\n") == 1 + len(kept) == 9
    for sample, row in zip(kept, table[4].splitlines()[2:], strict=True):
        assert row.endswith(f"| {sample['stop_reason']} | {sample['tokens']} |")
        assert f"| {sample['verdict']['score']} | scored |" in row


def test_without_samples_there_is_no_table(tmp_path):
    config = tiny_config(trainer__steps=1, tracker={"name": "tensorboard", "project": "board", "samples_every": 0})
    scalars, texts = read_back(train(config, tmp_path / "run").folder / "board")
    assert texts == {}
    assert list(scalars["loss"]) == [1]


def test_text_of_a_response_stays_text():
    assert markdown_table([ROW]).splitlines() == [
        "| prompt | response | score | status | turns | truncated | stop reason | tokens |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| 1 &#124; 2<br>=  | &lt;b&gt;&#42;3&#42;&lt;/b&gt; |  | timeout | 1 | False | eos | 3 |",
    ]


def test_a_conversation_is_shown_turn_by_turn():
    said = (
        fg.Message("system", "Obey."), fg.Message("user", "1+1?"), fg.Message("assistant", "<tool_call>{}</tool_call>"),
        fg.Message("tool", "2"), fg.Message("assistant", "two"),
    )  # fmt: skip
    transcript = fg.Transcript(said, 2, end="turns").to_dict()
    ((prompt, response, *rest),) = rows_of([SAMPLE | {"transcript": transcript, "turns": 2, "truncated": True}])
    assert prompt == "system: Obey.\n\nuser: 1+1?"
    assert response == "assistant: <tool_call>{}</tool_call>\n\ntool: 2\n\nassistant: two"
    assert rest == [None, "timeout", 2, True, "eos", 3]


@pytest.fixture
def stubs(monkeypatch):
    """Modules in the place of packages that are not installed; what they received."""
    received = []
    run = types.SimpleNamespace(
        log=lambda values, step=None: received.append((values, step)), finish=lambda: received.append("end")
    )
    for name in ("wandb", "trackio"):
        module = types.ModuleType(name)
        module.init = lambda project, **_: run
        module.Table = lambda columns=None, data=None, dataframe=None: (columns, data, dataframe)
        monkeypatch.setitem(sys.modules, name, module)
    mlflow = types.ModuleType("mlflow")
    mlflow.log_table = lambda columns, artifact_file: received.append((columns, artifact_file))
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    return received


def started(name):
    """accelerate's tracker of that name."""
    from accelerate import PartialState, tracking

    PartialState()
    tracker = tracking.LOGGER_TYPE_TO_CLASS[name]("project")
    if name != "mlflow":
        tracker.start()
    return tracker


ROW = ["1 | 2\n= ", "<b>*3*</b>", None, "timeout", 1, False, "eos", 3]


def test_wandb_gets_a_table(stubs):
    send_samples(started("wandb"), [SAMPLE], 7)
    assert stubs == [({NAME: (list(COLUMNS), [ROW], None)}, 7)]


def test_trackio_gets_a_table(stubs):
    send_samples(started("trackio"), [SAMPLE], 7)
    ((values, step),) = stubs
    frame = values[NAME][2]
    assert (step, list(frame.columns), frame.iloc[0].tolist()) == (7, list(COLUMNS), ROW)


def test_mlflow_gets_a_table_that_names_the_step(stubs):
    send_samples(started("mlflow"), [SAMPLE, SAMPLE], 7)
    ((columns, file),) = stubs
    assert file == "samples/train.json"
    assert columns["step"] == [7, 7]
    assert columns["response"] == [ROW[1]] * 2
    assert list(columns) == ["step", *COLUMNS]


def test_a_tracker_without_tables_is_named(stubs):
    other = types.SimpleNamespace(name="aim")
    assert without_tables([other, started("wandb")]) == ["aim"]
    send_samples(other, [SAMPLE], 1)  # nothing to send to
    send_samples(started("wandb"), [], 1)
    assert stubs == []


def test_a_tracker_that_is_not_installed_is_refused(tmp_path):
    with pytest.raises(fg.TrainerError, match="pip install aim"):
        train(tiny_config(tracker={"name": "aim"}), tmp_path / "run")


@pytest.mark.parametrize("project", ["../board", "/board", "..", "", "a/../../b", "planted"])
def test_a_project_outside_of_the_run_folder_is_refused(tmp_path, project):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "planted").symlink_to(tmp_path)
    with pytest.raises(fg.ConfigError, match=r"outside of the run folder: use a plain name"):
        check_tracker(TrackerConfig(name="tensorboard", project=project), tmp_path / "run")


def test_a_project_on_a_server_may_have_slashes(tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: ["mlflow"])
    check_tracker(TrackerConfig(name="mlflow", project="/Shared/board"), tmp_path)


def failing(*_, **__):
    raise ConnectionError("no answer from the server")


@pytest.mark.parametrize("fails", ["log", "table"])
def test_a_tracker_that_fails_is_dropped_and_the_run_goes_on(tmp_path, monkeypatch, capsys, fails):
    from accelerate.tracking import TensorBoardTracker

    monkeypatch.setattr(TensorBoardTracker, "finish", failing)
    if fails == "log":
        monkeypatch.setattr(TensorBoardTracker, "log", failing)
    else:
        monkeypatch.setitem(WRITERS, "tensorboard", failing)
    monkeypatch.setenv("FDIV_GYM_QUIET", "")
    config = tiny_config(trainer__steps=2, tracker={"name": "tensorboard", "project": "board", "samples_every": 1})
    run = RunFolder(train(config, tmp_path / "run").folder)
    assert [line["step"] for line in run.lines("metrics.jsonl")] == [1, 2]
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("ConnectionError: no answer from the server; it gets nothing more") == 1, said


def test_a_tracker_that_fails_at_its_end_does_not_keep_the_others(monkeypatch):
    ended, said = [], []
    one = types.SimpleNamespace(name="one", finish=failing)
    other = types.SimpleNamespace(name="other", finish=lambda: ended.append("other"))
    finish_trackers([one, other], said.append)
    assert ended == ["other"]
    assert said == ["tracker 'one' failed at its end: ConnectionError: no answer from the server"]
