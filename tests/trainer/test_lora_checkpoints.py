"""Checkpoints of a run with an adapter: exact resumption, evaluation, merging, and folders that are refused."""

from __future__ import annotations

import json
import resource
import shutil

import pytest
import torch
from conftest_trainer import without_times
from events_harness import run
from safetensors.torch import load_file, save_file

import fdiv_gym as fg
from fdiv_gym.evaluation import configure, merge_adapter
from fdiv_gym.models import ModelConfig, initial_model, load_model, weights_hash
from fdiv_gym.models.adapter_trust import read_adapter
from fdiv_gym.runs import METRICS, RunFolder

IDS = torch.tensor([[5, 9, 21, 33, 2], [7, 7, 30, 4, 1]])
LORA = {"rank": 4, "alpha": 8}
OPTIONS = {
    "objective": "f-grpo",
    "model": {"lora": LORA},
    "learning_rate": 1e-2,
    "checkpoint_every": 2,
    "check_plugins": False,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of four steps with checkpoints of steps 2 and 4, and of its initial model."""
    folder = tmp_path_factory.mktemp("lora")
    assert not run(folder, 4, **OPTIONS).error
    return folder / "run", folder / "tiny"


@pytest.fixture
def adapter(finished, tmp_path):
    """A copy of an adapter, and its base."""
    path = tmp_path / "adapter"
    shutil.copytree(finished[0] / "checkpoints" / "step-000004" / "model", path)
    return path, finished[1]


def start(adapter, base):
    return initial_model(ModelConfig(name_or_path=str(base), adapter=str(adapter)), str(base))


# peft 0.21 reads a property that transformers 5.23 renamed; the library's own call of peft is silent.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def again(base):
    """The options of a run of ``finished`` in another folder."""
    return OPTIONS | {"model": {"lora": LORA, "name_or_path": str(base)}}


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def edit(path, **changes):
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | changes))


def test_a_checkpoint_is_a_peft_folder(finished):
    from peft import PeftModel

    folder, base = finished[0] / "checkpoints" / "step-000004" / "model", finished[1]
    assert {"adapter_config.json", "adapter_model.safetensors", "base.json"} <= {p.name for p in folder.iterdir()}
    assert not (folder / "config.json").exists()
    initial = load_model(base)
    assert json.loads((folder / "base.json").read_text()) == {
        "name_or_path": str(base), "weights": weights_hash(initial),
    }  # fmt: skip
    expected = logits(PeftModel.from_pretrained(load_model(base), folder))
    merged = logits(start(folder, base))
    assert float((merged - expected).abs().max()) < 1e-5
    assert float((merged - logits(initial)).abs().max()) > 1e-4


def test_a_resumed_run_is_the_uninterrupted_one(finished, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(finished[0], copied)
    shutil.rmtree(copied / "checkpoints" / "step-000004")
    (copied / "summary.json").unlink()
    assert not run(tmp_path, 4, resume=True, **again(finished[1])).error
    lines = [without_times(RunFolder(folder).lines(METRICS)) for folder in (copied, finished[0])]
    assert lines[0] == lines[1]
    weights = [load_file(f / "checkpoints/step-000004/model/adapter_model.safetensors") for f in (copied, finished[0])]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_another_base_is_refused_on_resume(finished, tmp_path):
    copied, base = tmp_path / "run", tmp_path / "tiny"
    shutil.copytree(finished[0], copied)
    shutil.copytree(finished[1], base)
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"] += 1e-3
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    values = RunFolder(copied).config()
    values["model"]["name_or_path"] = str(base)
    (copied / "config.json").write_text(json.dumps(values))
    record = RunFolder(copied).read_json("provenance.json")
    record["config"]["model.name_or_path"] = str(base)
    (copied / "provenance.json").write_text(json.dumps(record))
    assert "started with initial weights" in run(tmp_path, 4, resume=True, **again(base)).error


def test_an_evaluation_takes_the_base_of_the_run(finished):
    path, base = finished
    config, _ = configure(str(path), "math/Addition-v0")
    step = path / "checkpoints" / "step-000004" / "model"
    assert (config.model.name_or_path, config.model.adapter, config.model.lora) == (str(base), str(step), None)
    config, _ = configure(str(path), "math/Addition-v0", step=0)
    assert (config.model.name_or_path, config.model.adapter, config.model.lora) == (str(base), None, None)
    with pytest.raises(fg.ConfigError, match="is an adapter without its base model"):
        configure(str(step), "math/Addition-v0")
    with pytest.raises(fg.TrainerError, match="holds an adapter and no model"):
        load_model(step)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_modules": "((a+)+)+b"}, "only a list of names is read, because peft takes a text as a regular"),
        ({"target_modules": ["(a+)+b"]}, "should match pattern"),
        ({"auto_mapping": {"base_model_class": "X", "parent_library": "evil"}}, "has 'auto_mapping' ="),
        ({"peft_type": "BOFT"}, "has 'peft_type' = 'BOFT'"),
        ({"r": 10**9}, "has r = 1000000000, but the ranks in adapter_model.safetensors are 4"),
        ({"layer_replication": [[0, 4]]}, "has 'layer_replication'"),
        ({"init_lora_weights": "pissa"}, "has 'init_lora_weights' = 'pissa'"),
        ({"something_new": 1}, "has 'something_new' = 1"),
        ({"target_modules": ["q_proj"]}, "does not fit the model"),
    ],
)
def test_a_hostile_configuration_is_refused(adapter, changes, message):
    edit(adapter[0] / "adapter_config.json", **changes)
    with pytest.raises(fg.TrainerError, match=message):
        start(*adapter)


def test_weights_in_a_pickle_are_refused(adapter):
    weights = load_file(adapter[0] / "adapter_model.safetensors")
    (adapter[0] / "adapter_model.safetensors").unlink()
    torch.save(weights, adapter[0] / "adapter_model.bin")
    with pytest.raises(fg.TrainerError, match=r"adapter_model\.bin, a pickle"):
        start(*adapter)


def test_a_base_elsewhere_is_refused_and_not_read(adapter):
    path, base = adapter
    edit(path / "base.json", weights="0" * 16)
    with pytest.raises(fg.TrainerError, match="with weights 0000000000000000"):
        start(path, base)
    (path / "base.json").unlink()
    assert read_adapter(path)[1] == {"name_or_path": str(base)}
    start(path, base)
    edit(path / "adapter_config.json", base_model_name_or_path="someone/else")
    with pytest.raises(fg.TrainerError, match="names the base model 'someone/else', which is not read"):
        start(path, base)


def test_weights_that_are_not_finite_are_refused(adapter):
    weights = load_file(adapter[0] / "adapter_model.safetensors")
    next(iter(weights.values()))[0, 0] = float("nan")
    save_file(weights, adapter[0] / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(fg.TrainerError, match="not finite"):
        start(*adapter)


def test_an_adapter_and_a_new_one_exclude_each_other(adapter):
    with pytest.raises(ValueError, match="merge that into a model first"):
        ModelConfig(adapter=str(adapter[0]), lora=LORA)


def test_an_adapter_is_merged_into_a_new_folder(finished, tmp_path):
    """A plain model, equal to peft's adapter on its base; nothing is overwritten."""
    from peft import PeftModel

    path, base = finished
    output = merge_adapter(str(path), tmp_path / "new" / "merged")
    assert not (output / "adapter_config.json").exists()
    (tmp_path / "own").mkdir()
    assert output.stat().st_mode == (tmp_path / "own").stat().st_mode  # others may read it where they read the user's
    adapter = path / "checkpoints" / "step-000004" / "model"
    expected = logits(PeftModel.from_pretrained(load_model(base), adapter))
    assert float((logits(load_model(output)) - expected).abs().max()) < 1e-5
    earlier = merge_adapter(str(path / "checkpoints" / "step-000002"), tmp_path / "earlier")
    assert float((logits(load_model(earlier)) - expected).abs().max()) > 1e-4
    before = weights_hash(load_model(output))
    with pytest.raises(fg.ConfigError, match="exists: name a new folder"):
        merge_adapter(str(path), output, step=2)
    assert weights_hash(load_model(output)) == before
    for model, step in ((str(output), None), (str(path), 0), (str(base), None)):
        with pytest.raises(fg.ConfigError, match="no adapter that a run trained"):
            merge_adapter(model, tmp_path / "other", step)
    assert {found.name for found in tmp_path.iterdir()} == {"new", "earlier", "own"}


def test_a_merged_model_that_cannot_be_written_leaves_nothing(finished, tmp_path):
    """safetensors reports a full disk by a class of its own, which is no OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    try:
        with pytest.raises(fg.TrainerError, match="cannot write the model in"):
            merge_adapter(str(finished[0]), tmp_path / "merged")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [*tmp_path.iterdir()]
