"""What a user sees at the start: the legend of the progress line, missing trackers, models that cannot be reached."""

import os
import subprocess
import sys
import time

import pytest
from conftest_trainer import tiny_config
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.models.loading import load_model, load_tokenizer
from fdiv_gym.runs.config import TrackerConfig
from fdiv_gym.runs.screen import PlainScreen, RichScreen
from fdiv_gym.runs.trackers import check_tracker
from fdiv_gym_accelerate.shown import SHOWN, STEP_METRICS
from fdiv_gym_preference_model.shown import SHOWN as PREFERENCE_MODEL

LINE = {"reward/mean": 0.5, "groups/all_equal": 0.25, "divergence/estimate": 0.1, "time/tokens_per_second": 2000.0}


def test_the_legend_explains_every_label_of_the_progress_line():
    for line in (LINE, {**LINE, "curriculum/open_level": 2.0}, {"time/tokens_per_second": 0.0}):
        labels = [label for label, _ in SHOWN.values(line)]
        assert [part.partition(": ")[0] for part in SHOWN.legend(line).split("; ")] == labels
        assert all(part.partition(": ")[2] for part in SHOWN.legend(line).split("; "))


@pytest.mark.parametrize("screen", [PlainScreen, RichScreen])
def test_the_legend_is_printed_once_before_the_first_step(capsys, screen):
    screen = screen(SHOWN) if screen is RichScreen else screen(SHOWN, every=0)
    screen.start(2, 0)
    screen.step(1, LINE)
    screen.step(2, LINE)
    screen.stop()
    out = " ".join(capsys.readouterr().out.split())
    explained = "reward: mean reward; equal: share of groups whose rewards are all equal; D: estimated divergence from"
    assert out.count(explained) == 1
    assert out.index(explained) < out.index("reward 0.500")
    if isinstance(screen, PlainScreen):
        assert out.startswith("reward: ")


def test_the_help_of_train_explains_every_label():
    result = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    text = " ".join(result.output.split())
    for shown in (*STEP_METRICS, *PREFERENCE_MODEL.steps):
        assert f"{shown.label}: {shown.meaning}" in text


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("wandb", fg.TrainerError, "tracker 'wandb' needs a package that is not installed: pip install wandb"),
        ("comet_ml", fg.TrainerError, "pip install comet-ml"),
        ("all", fg.TrainerError, "no tracker package is installed"),
        ("wandbb", fg.ConfigError, "no tracker 'wandbb' .did you mean 'wandb'"),
    ],
)
def test_a_missing_tracker_is_an_error_before_anything_starts(tmp_path, monkeypatch, name, error, message):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    monkeypatch.setattr("fdiv_gym_accelerate.parts.load_policy", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(error, match=message):
        fg.train(tiny_config(tracker=TrackerConfig(name=name).model_dump()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_installed_tracker_is_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: ["wandb"])
    check_tracker(TrackerConfig(name="wandb"), tmp_path)
    check_tracker(TrackerConfig(name="all"), tmp_path)


@pytest.mark.parametrize("load", [load_model, load_tokenizer])
@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_id_that_cannot_be_reached_is_refused_at_once(monkeypatch, load, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    why = "HF_HUB_OFFLINE is set" if offline else "no answer from http://127.0.0.1:9"
    begun = time.monotonic()
    with pytest.raises(fg.TrainerError) as caught:
        load("some-owner/no-such-model")
    assert time.monotonic() - begun < 5
    assert str(caught.value) == (
        "there is no local model folder 'some-owner/no-such-model', the hub's cache has no such model, "
        f"and the hub cannot be reached ({why})"
    )


def test_a_name_that_is_neither_a_folder_nor_a_hub_id_is_refused():
    with pytest.raises(fg.TrainerError, match="no local model folder 'a/b/c', and it is not a hub id"):
        load_model("a/b/c")


def test_a_mistyped_local_model_names_the_folders_with_similar_names(tmp_path, monkeypatch):
    for folder in ("qwen", "runs/first", "unrelated"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for mistyped, meant in (("qwenn", "qwen"), ("runs/frist", "runs/first"), ("frist", "runs/first")):
        with pytest.raises(fg.TrainerError, match=f"; did you mean '{meant}'\\? "):
            load_model(mistyped)


def test_a_mistyped_local_model_is_refused_before_the_network_is_asked(tmp_path, monkeypatch):
    (tmp_path / "qwen").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    asked = []
    monkeypatch.setattr("fdiv_gym.models.hub._answers", lambda endpoint: asked.append(endpoint))
    with pytest.raises(fg.TrainerError, match="no local model folder 'qwenn'; did you mean 'qwen'"):
        load_model("qwenn")
    assert asked == []
    with pytest.raises(fg.TrainerError, match="the hub cannot be reached"):
        load_model("someone/qwenn")  # an owner: this may be a model of the hub
    assert len(asked) == 1


def test_training_with_an_unreachable_hub_id_ends_with_one_line(tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('[env]\nid = "math/Addition-v0"\n[model]\nname_or_path = "some-owner/no-such-model"\n')
    done = subprocess.run(
        [sys.executable, "-m", "fdiv_gym", "train", str(config), "--output", str(tmp_path / "run")],
        env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "there is no local model folder 'some-owner/no-such-model'" in done.stderr
    assert not (tmp_path / "run").exists()
