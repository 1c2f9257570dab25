"""Folders of preference models: our own, the released layout, and damaged or hostile ones."""

import json
import os
import shutil

import pytest
import torch
from gpm_models import batch, small, write_released
from safetensors.torch import load_file, save_file

import fdiv_gym as fg
from fdiv_gym.models import load_tokenizer, sealed
from fdiv_gym.models.loading import load_model
from fdiv_gym.testing.tiny import save_tiny_model, tiny_model, tiny_tokenizer
from fdiv_gym_gprl import GeneralPreferenceModel, GPMConfig

FORMS = [{"dimensions": 3}, {"dimensions": 2, "eigenvalues": "one", "normalise": True, "tau": 0.2},
         {"dimensions": 1, "pinned": True}]  # fmt: skip


@pytest.mark.parametrize("options", FORMS)
def test_a_saved_model_is_loaded_as_it_was(tmp_path, options):
    model = small(**options)
    model.save(tmp_path / "gpm", tiny_tokenizer())
    again = GeneralPreferenceModel.load(tmp_path / "gpm")
    assert again.config == model.config
    assert {n: t.tolist() for n, t in again.state_dict().items()} == {
        n: t.tolist() for n, t in model.state_dict().items()
    }
    assert load_tokenizer(tmp_path / "gpm").encode("abc") == tiny_tokenizer().encode("abc")
    names = load_file(tmp_path / "gpm" / "model.safetensors")
    assert {"value_head.weight", "model.embed_tokens.weight"} <= set(names)


@pytest.mark.parametrize("tied", [False, True])
def test_a_preference_model_is_a_judge_and_no_policy_also_with_tied_embeddings(tmp_path, tied):
    """Tied, its backbone has all weights of a language model, whose output layer nobody trained."""
    plain = tiny_model()
    config = type(plain.config)(**{**plain.config.to_dict(), "tie_word_embeddings": tied})
    causal = type(plain)(config).eval()
    assert (causal.lm_head.weight is causal.model.embed_tokens.weight) == tied
    model = GeneralPreferenceModel(GPMConfig(base="tiny", dimensions=2), causal.model)
    model.save(tmp_path / "gpm", tiny_tokenizer())
    rows = batch("ab", "c")
    again = GeneralPreferenceModel.load(tmp_path / "gpm")
    assert torch.equal(again.encode(*rows)[0], model.encode(*rows)[0])
    tasks = [fg.Task("which one ")] * 2
    first, second = fg.get_judge("gpm", model=str(tmp_path / "gpm")).judge_batch(tasks, ["ab", "c"])
    assert first.score + second.score == pytest.approx(1)
    with pytest.raises(fg.TrainerError, match=r"holds a preference model \(gpm.json\) and no language model: name the"):
        load_model(tmp_path / "gpm")


def test_other_backbones_are_saved_under_their_own_names(tmp_path):
    from transformers import GPT2Config, GPT2Model

    backbone = GPT2Model(GPT2Config(vocab_size=20, n_positions=16, n_embd=8, n_layer=1, n_head=2)).eval()
    model = GeneralPreferenceModel(GPMConfig(base="gpt2", dimensions=2), backbone)
    model.save(tmp_path / "gpm")
    assert "transformer.wte.weight" in load_file(tmp_path / "gpm" / "model.safetensors")
    again = GeneralPreferenceModel.load(tmp_path / "gpm").eval()
    rows = torch.tensor([[1, 2, 3]]), torch.ones(1, 3, dtype=torch.long), torch.tensor([2])
    for found, expected in zip(again.encode(*rows), model.encode(*rows), strict=True):
        assert torch.equal(found, expected)


def test_a_folder_that_exists_is_not_replaced(tmp_path):
    (tmp_path / "gpm").mkdir()
    with pytest.raises(fg.TrainerError, match="it exists"):
        small(dimensions=1).save(tmp_path / "gpm")


def test_a_failed_save_leaves_nothing(tmp_path):
    class Broken:
        def save_pretrained(self, folder):
            raise OSError(28, "No space left on device")

    with pytest.raises(fg.TrainerError, match="No space left"):
        small(dimensions=1).save(tmp_path / "gpm", Broken())
    assert [*tmp_path.iterdir()] == []


def released_scores(state, backbone, ids, mask, lengths):
    """s(first > second) as the release's example of use computes it: L2 norm, plain softmax, block matrix."""
    hidden = backbone(input_ids=ids, attention_mask=mask).last_hidden_state
    ends = mask.sum(-1) - 1
    rewards = torch.stack([state["value_head.weight"].float() @ hidden[i, end] for i, end in enumerate(ends)])
    rewards = torch.nn.functional.normalize(rewards, p=2, dim=-1)
    values = torch.softmax(state["prompt_head.weight"].float() @ hidden[0, lengths[0] - 1], dim=-1)
    size = rewards.shape[-1]
    matrix = torch.zeros(size, size)
    for i in range(0, size, 2):
        matrix[i, i + 1], matrix[i + 1, i] = -values[i // 2], values[i // 2]
    return rewards[0] @ matrix.T @ rewards[1]


def test_the_released_layout_gives_the_scores_of_the_release(tmp_path, capfd):
    state = write_released(tmp_path / "GPM-Tiny")
    model = GeneralPreferenceModel.load(tmp_path / "GPM-Tiny").eval()
    assert "UNEXPECTED" not in capfd.readouterr().err
    assert model.config.model_dump() == {
        "base": "GPM-Tiny", "dimensions": 3, "eigenvalues": "softmax", "normalise": True, "pinned": False, "tau": 0.1
    }  # fmt: skip
    ids, mask, lengths = batch("abc", "zz 0")
    with torch.no_grad():
        embeddings, eigenvalues = model.encode(ids, mask, lengths)
        found = model.scores(embeddings[:1], embeddings[1:], eigenvalues[:1])
        expected = released_scores(state, model.backbone, ids, mask, lengths)
    assert abs(float(expected)) > 0.01
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-6)
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, state[f"model.{name}"].float()), name


def test_the_forms_of_released_checkpoints(tmp_path):
    write_released(tmp_path / "scalar", outputs=1, prompt_head=False)
    assert GeneralPreferenceModel.load(tmp_path / "scalar").config.pinned
    write_released(tmp_path / "plain", outputs=4, prompt_head=False)
    assert GeneralPreferenceModel.load(tmp_path / "plain").config.eigenvalues == "one"
    write_released(tmp_path / "full")
    trained = GeneralPreferenceModel.load(tmp_path / "full", eigenvalues="scaled", normalise=False, tau=1.0).config
    assert (trained.eigenvalues, trained.normalise, trained.tau) == ("scaled", False, 1.0)
    bf16 = GeneralPreferenceModel.load(tmp_path / "full", dtype=torch.bfloat16)
    assert bf16.backbone.dtype == torch.bfloat16
    assert bf16.value_head.weight.dtype == torch.float32
    write_released(tmp_path / "odd", outputs=3, prompt_head=False)
    with pytest.raises(fg.TrainerError, match="has 3 outputs"):
        GeneralPreferenceModel.load(tmp_path / "odd")


def test_options_are_refused_where_they_are_recorded_or_do_not_fit(tmp_path):
    small(dimensions=2).save(tmp_path / "own")
    with pytest.raises(fg.ConfigError, match="tau is set by its gpm"):
        GeneralPreferenceModel.load(tmp_path / "own", tau=0.5)
    write_released(tmp_path / "full")
    with pytest.raises(fg.ConfigError, match="tau"):
        GeneralPreferenceModel.load(tmp_path / "full", tau=-1.0)
    with pytest.raises(fg.TrainerError, match=r"prompt_head.weight has the shape \(3, 32\)"):
        GeneralPreferenceModel.load(tmp_path / "full", eigenvalues="one")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpm") / "own"
    small(dimensions=2).save(folder, tiny_tokenizer())
    return folder


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


OWN_FAULTS = {
    "cut weights": (lambda folder: cut(folder / "model.safetensors"), "differs from its SHA-256"),
    "edited record": (lambda folder: (folder / "gpm.json").write_text("{}"), "differs from its SHA-256"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "it has no manifest.json"),
    "a pipe": (lambda folder: os.mkfifo(folder / "extra.safetensors"), "not a regular file"),
    "added weights": (lambda folder: shutil.copy(folder / "model.safetensors", folder / "b.safetensors"), "was added"),
}


@pytest.mark.parametrize("fault", OWN_FAULTS)
def test_damaged_folders_are_refused(own, tmp_path, fault):
    folder = shutil.copytree(own, tmp_path / "copy")
    assert GeneralPreferenceModel.load(folder).config.dimensions == 2
    damage, reason = OWN_FAULTS[fault]
    damage(folder)
    with pytest.raises(fg.TrainerError, match=reason):
        GeneralPreferenceModel.load(folder)


def test_a_size_that_the_record_only_claims_takes_no_memory(own, tmp_path):
    folder = shutil.copytree(own, tmp_path / "copy")
    (folder / "manifest.json").unlink()
    record = json.loads((folder / "gpm.json").read_text())
    with sealed(tmp_path / "sealed") as resealed:  # whoever edits a folder can seal it again
        shutil.copytree(folder, resealed, dirs_exist_ok=True)
        (resealed / "gpm.json").write_text(json.dumps(record | {"dimensions": 10**12}))
    with pytest.raises(fg.TrainerError, match=r"value_head.weight has the shape \(4, 32\), .* \(2000000000000, 32\)"):
        GeneralPreferenceModel.load(tmp_path / "sealed")


def changed(folder, **tensors):
    """Replace tensors of the second shard; None removes one."""
    for path in sorted(folder.glob("*.safetensors")):
        state = load_file(path)
        for name, tensor in tensors.items():
            if name in state:
                state.pop(name)
                if tensor is not None:
                    state[name] = tensor
        save_file(state, path, metadata={"format": "pt"})


def edited(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


NAN = torch.full((6, 32), float("nan"))
RELEASED_FAULTS = {
    "no heads": (lambda f: changed(f, **{"value_head.weight": None}), "no \\*.safetensors of it has value_head.weight"),
    "not finite": (lambda f: changed(f, **{"value_head.weight": NAN}), "value_head.weight is not finite"),
    "a vector": (lambda f: changed(f, **{"value_head.weight": torch.zeros(6)}), "or no matrix"),
    "another width": (lambda f: changed(f, **{"value_head.weight": torch.zeros(6, 31)}), "has the shape"),
    "too few eigenvalues": (
        lambda f: changed(f, **{"prompt_head.weight": torch.zeros(2, 32)}), r"the shape \(2, 32\)"
    ),
    "incomplete backbone": (lambda f: changed(f, **{"model.norm.weight": None}), "incomplete: norm.weight missing"),
    "not finite backbone": (
        lambda f: changed(f, **{"model.norm.weight": torch.full((32,), float("inf"))}), "norm.weight are not finite"
    ),
    "cut": (lambda f: cut(f / "model-00001-of-00002.safetensors"), "cannot be read"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "configuration is no JSON": (lambda f: (f / "config.json").write_text("{"), "config.json"),
    "code of its own": (
        lambda f: edited(f, model_type="own", auto_map={"AutoModel": "own.Model"}), "needs Python code of its own"
    ),
    "a bias": (
        lambda f: save_file({"value_head.bias": torch.zeros(6)}, f / "more.safetensors"), "heads have no bias"
    ),
    "heads twice": (
        lambda f: save_file({"value_head.weight": torch.zeros(6, 32)}, f / "more.safetensors"), "twice"
    ),
    "an adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "adapter"),
}  # fmt: skip


@pytest.mark.parametrize("fault", RELEASED_FAULTS)
def test_faulty_released_folders_are_refused(tmp_path, fault):
    write_released(tmp_path / "full")
    damage, reason = RELEASED_FAULTS[fault]
    damage(tmp_path / "full")
    with pytest.raises(fg.TrainerError, match=reason):
        GeneralPreferenceModel.load(tmp_path / "full")


def test_folders_without_a_preference_model_are_refused(tmp_path):
    with pytest.raises(fg.TrainerError, match="there is no folder"):
        GeneralPreferenceModel.load(tmp_path / "none")
    save_tiny_model(tmp_path / "causal")
    with pytest.raises(fg.TrainerError, match="holds no preference model"):
        GeneralPreferenceModel.load(tmp_path / "causal")


def test_pickled_weights_are_refused(tmp_path):
    state = write_released(tmp_path / "full")
    for path in tmp_path.glob("full/*.safetensors*"):
        path.unlink()
    torch.save(state, tmp_path / "full" / "pytorch_model.bin")
    with pytest.raises(fg.TrainerError, match="pickle"):
        GeneralPreferenceModel.load(tmp_path / "full")
