"""A flipped bit in a checkpoint, an embedded model or a record is named, and never trained on."""

import json
from pathlib import Path

import pytest
import torch
from folder_harness import config_file
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.evaluation.source import locate
from fdiv_gym.manifest import MANIFEST, damage_of, seal
from fdiv_gym.runs import RunFolder, load_config, resume_run, train, write_report


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def without_times(run: RunFolder) -> list[dict]:
    lines = run.lines("metrics.jsonl")
    return [{key: value for key, value in line.items() if not key.startswith(("time/", "memory/"))} for line in lines]


@pytest.mark.parametrize("file", ["model/model.safetensors", "state.pt", "model/tokenizer.json"])
def test_a_flipped_bit_is_named_and_the_checkpoint_before_is_used(run, finished, file, capsys):
    flip_a_bit(run.path / "checkpoints" / "step-000004" / file)
    resume_run(run.path)
    assert (
        f"step-000004 is damaged: {file} differs from its SHA-256; resuming from step-000002" in capsys.readouterr().out
    )
    assert (run.path / "checkpoints" / "damaged-step-000004").is_dir()
    assert without_times(run) == without_times(RunFolder(finished))
    saved = [folder / "checkpoints" / "step-000004" / "model" / "model.safetensors" for folder in (run.path, finished)]
    assert saved[0].read_bytes() == saved[1].read_bytes()


def test_the_command_does_not_say_that_nothing_was_left_to_do(run):
    flip_a_bit(run.path / "checkpoints" / "step-000004" / "state.pt")
    first, second = (CliRunner().invoke(app, ["train", "--resume", str(run.path)]) for _ in range(2))
    assert first.exit_code == 0
    assert "nothing was left to do" not in first.stderr
    assert "nothing was left to do" in second.stderr


def test_if_every_checkpoint_is_damaged_the_resume_is_refused_and_names_them(run):
    for checkpoint in run.checkpoints():
        (checkpoint / "state.pt").write_bytes(b"garbage")
    before = (run.path / "metrics.jsonl").read_bytes()
    with pytest.raises(fg.TrainerError, match=r"every checkpoint .* is damaged \(step-000004: .*; step-000002: .*\)"):
        resume_run(run.path)
    assert (run.path / "metrics.jsonl").read_bytes() == before


def test_an_evaluation_refuses_a_damaged_checkpoint(run):
    flip_a_bit(run.path / "checkpoints" / "step-000004" / "model" / "model.safetensors")
    for model, step in ((run.path, None), (run.path, 4), (run.path / "checkpoints" / "step-000004", None)):
        with pytest.raises(fg.TrainerError, match=r"step-000004 is damaged: model/model\.safetensors"):
            locate(str(model), step)
    assert locate(str(run.path), 2)[1].endswith("step-000002/model")


def test_a_manifest_shows_what_is_missing_changed_or_added(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.safetensors").write_bytes(b"weights")
    assert damage_of(tmp_path) == f"it has no {MANIFEST}"
    seal(tmp_path)
    assert damage_of(tmp_path) is None
    (tmp_path / "notes.txt").touch()  # a file of the user is no damage
    assert damage_of(tmp_path) is None
    (tmp_path / "b.safetensors").touch()
    assert damage_of(tmp_path) == "b.safetensors was added"
    (tmp_path / "inner" / "a.safetensors").unlink()
    assert "inner/a.safetensors cannot be read" in damage_of(tmp_path)
    (tmp_path / MANIFEST).write_text('{"sha256": ["text"]}')
    assert "cannot be read" in damage_of(tmp_path)


def test_a_damaged_embedded_model_is_built_again(tmp_path, monkeypatch):
    from fdiv_gym.models.embedded import EmbeddedModelConfig, EnvDemonstrations, embedded_model_folder

    monkeypatch.setenv("FDIV_GYM_CACHE", str(tmp_path))
    config = EmbeddedModelConfig(layers=1, heads=1, head_dim=32, warm_start_steps=2, warm_start_batch=2)
    source = EnvDemonstrations(fg.make("math/Addition-v0"))
    folder = embedded_model_folder(config, source)
    weights = (folder / "model.safetensors").read_bytes()
    flip_a_bit(folder / "model.safetensors")
    with pytest.warns(UserWarning, match=r"model\.safetensors differs from its SHA-256; it is built again"):
        assert embedded_model_folder(config, source) == folder
    assert (folder / "model.safetensors").read_bytes() == weights
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_weights_that_are_not_finite_are_refused_by_name(run):
    from safetensors.torch import load_file, save_file

    checkpoint = run.path / "checkpoints" / "step-000004"
    file = checkpoint / "model" / "model.safetensors"
    weights = load_file(file)
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, file, metadata={"format": "pt"})
    seal(checkpoint)
    with pytest.raises(fg.TrainerError, match=r"the weights model\.norm\.weight are not finite"):
        resume_run(run.path)
    from fdiv_gym.models.loading import load_model

    with pytest.raises(fg.TrainerError, match=r"the weights model\.norm\.weight in .* are not finite"):
        load_model(checkpoint / "model")


def test_a_checkpoint_without_a_step_in_its_name_is_one_clear_error(run):
    (run.path / "checkpoints" / "step-best").mkdir()
    with pytest.raises(fg.TrainerError, match="step-best is no checkpoint: its name must be step-NUMBER"):
        resume_run(run.path)
    run.forget_old_checkpoints(1)  # a running training is not stopped by it
    assert sorted(p.name for p in (run.path / "checkpoints").iterdir()) == ["step-000004", "step-best"]


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluations.jsonl", "samples.jsonl"])
def test_text_as_a_step_is_one_clear_error(run, name):
    lines = run.lines(name)
    lines[-1]["step"] = "four"
    (run.path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(fg.TrainerError, match=f"{name} is damaged: the step of a line is 'four'"):
        resume_run(run.path)


@pytest.mark.parametrize("content", ['"text"', "text", '{"status": 3, "steps": "text", "seconds": "text"}'])
def test_text_in_the_summary_is_no_traceback(run, content):
    (run.path / "summary.json").write_text(content)
    if content.startswith("{"):
        write_report(run.path)
    else:
        with pytest.raises(fg.TrainerError, match=r"summary\.json"):
            write_report(run.path)
    done = CliRunner().invoke(app, ["train", "--resume", str(run.path)])
    assert done.exit_code == 0 if content.startswith("{") else isinstance(done.exception, fg.TrainerError)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_changed_default_dtype_is_one_clear_error(tmp_path, dtype):
    torch.set_default_dtype(dtype)
    try:
        with pytest.raises(fg.TrainerError, match=rf"^torch's default dtype is {dtype}: call torch.set_default_dtype"):
            train(load_config(config_file(tmp_path)), tmp_path / "run")
    finally:
        torch.set_default_dtype(torch.float32)
    assert not (tmp_path / "run").exists()
