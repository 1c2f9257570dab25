import ast
import contextlib
import json
import shutil
import time
from pathlib import Path

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.models import template
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.models.embedded import character_tokenizer
from fdiv_gym.models.loading import load_model, load_tokenizer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("model")
    tokenizer = character_tokenizer()
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def own_code(folder, marker):
    """A model folder whose configuration is a class of its own that writes ``marker``."""
    (folder / "hostile.py").write_text(
        f"open({str(marker)!r}, 'w').close()\n"
        "from transformers import GPT2Config, GPT2LMHeadModel\n"
        "class Config(GPT2Config):\n    model_type = 'hostile'\n"
        "class Model(GPT2LMHeadModel):\n    config_class = Config\n"
    )
    auto = {"AutoConfig": "hostile.Config", "AutoModelForCausalLM": "hostile.Model"}
    edit(folder / "config.json", model_type="hostile", auto_map=auto)
    return folder


def test_every_loader_of_transformers_states_both_options():
    found = 0
    for file in [p for top in ("fdiv_gym", "plugins", "trainers", "envs") for p in (ROOT / top).rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr != "from_pretrained":
                continue
            found += 1
            given = {keyword.arg for keyword in node.keywords}
            stated = "trust_remote_code" in given or None in given
            assert stated, f"{file}:{node.lineno} does not state trust_remote_code"
            if "AutoModel" in ast.unparse(node.func):
                assert "use_safetensors" in given, f"{file}:{node.lineno} does not state use_safetensors"
    assert found >= 6


def test_a_folders_own_model_code_does_not_run(folder, tmp_path):
    own_code(folder, tmp_path / "ran")
    with pytest.raises(fg.TrainerError, match=r"Python code of its own.* model.trust_remote_code = true"):
        load_model(folder)
    assert not (tmp_path / "ran").exists()


def test_a_folders_own_tokenizer_code_does_not_run(folder, tmp_path):
    own_code(folder, tmp_path / "ran")
    auto = {"AutoTokenizer": ["hostile.Tokenizer", None]}
    edit(folder / "tokenizer_config.json", tokenizer_class="Tokenizer", auto_map=auto)
    with contextlib.suppress(fg.TrainerError):  # transformers may find a class of its own for the file
        load_tokenizer(folder)
    assert not (tmp_path / "ran").exists()


def test_trusted_code_runs(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    own_code(folder, tmp_path / "ran")
    model = load_model(folder, trust_remote_code=True)
    assert type(model).__name__ == "Model"
    assert (tmp_path / "ran").exists()


def test_a_kernel_of_the_hub_named_by_a_folder_is_refused(folder):
    edit(folder / "config.json", attn_implementation="someone/attention")
    with pytest.raises(fg.TrainerError, match="names the kernel 'someone/attention', which is code from the hub"):
        load_model(folder)


def as_pickle(folder):
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def as_index_to_pickle(folder):
    as_pickle(folder)
    (folder / "other.safetensors").write_bytes(b"")
    index = {"metadata": {}, "weight_map": {"transformer.wte.weight": "pytorch_model.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def as_index_outside(folder):
    index = {"metadata": {}, "weight_map": {"transformer.wte.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def as_named_pickle(folder):
    edit(folder / "config.json", transformers_weights="pytorch_model.bin")


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (as_pickle, "pytorch_model.bin"),
        (as_index_to_pickle, "pytorch_model.bin"),
        (as_index_outside, "../model.safetensors"),
        (as_named_pickle, "pytorch_model.bin"),
    ],
)
def test_a_pickle_is_refused_by_name(folder, plant, named):
    plant(folder)
    with pytest.raises(fg.TrainerError, match="only safetensors are read") as refused:
        load_model(folder)
    assert named in str(refused.value)


CONFIGURATIONS = [[], {"n_embd": "abc"}, {"n_head": 0}, {"activation_function": "\x1b]0;x\x07"}, {"model_type": ["x"]}]
CONFIGURATIONS += [{"id2label": 5}, {"quantization_config": 5}, {"quantization_config": {"quant_method": "gptq"}}]


@pytest.mark.parametrize("config", CONFIGURATIONS, ids=str)
def test_a_wrong_configuration_of_a_model_is_one_line(folder, config):
    known = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(known | config if config else config))
    with pytest.raises(fg.TrainerError, match=r"\Acannot load a model from|\Amodel .* holds no JSON object") as refused:
        load_model(folder)
    assert "\x1b" not in str(refused.value)


TOKENIZERS = [
    ("tokenizer.json", {"model": {"type": "BPE"}}), ("tokenizer.json", {"pre_tokenizer": {"type": "x"}}),
    ("tokenizer_config.json", {"eos_token": 5}), ("tokenizer_config.json", {"extra_special_tokens": [5]}),
    ("tokenizer_config.json", {"auto_map": 5}), ("tokenizer_config.json", {"chat_template": [1]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), TOKENIZERS, ids=str)
def test_a_wrong_tokenizer_is_one_line(folder, name, change):
    edit(folder / name, **change)
    with pytest.raises(fg.TrainerError, match=r"\Acannot load a tokenizer from"):
        load_tokenizer(folder)


@pytest.mark.parametrize("text", ["[]", "[" * 100_000], ids=["a list", "deep"])
def test_a_tokenizers_configuration_that_is_no_table_is_one_line(folder, text):
    (folder / "tokenizer_config.json").write_text(text)
    with pytest.raises(fg.TrainerError, match=r"\Acannot load a tokenizer from"):
        load_tokenizer(folder)


def test_an_adapter_beside_the_weights_is_refused(folder):
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "someone/else", "r": 1, "target_modules": ["c_attn"]}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    with pytest.raises(fg.TrainerError, match=r"has an adapter \(adapter_config.json\).* merge it"):
        load_model(folder)


def test_a_classifier_with_damaged_weights_is_one_line(folder):
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(fg.JudgeError, match=r"judge 'classifier' cannot load .*header"):
        fg.get_judge("classifier", model=str(folder))


def test_a_classifier_reads_neither_pickles_nor_code(folder, tmp_path):
    own_code(folder, tmp_path / "ran")
    with pytest.raises(fg.JudgeError, match="Python code of its own"):
        fg.get_judge("classifier", model=str(folder))
    assert not (tmp_path / "ran").exists()
    edit(folder / "config.json", model_type="gpt2", auto_map={})
    as_pickle(folder)
    with pytest.raises(fg.JudgeError, match=r"pytorch_model.bin, a pickle"):
        fg.get_judge("classifier", model=str(folder))


def with_template(text):
    tokenizer = character_tokenizer()
    tokenizer.chat_template = text
    return tokenizer


def test_a_template_renders_as_before():
    tokenizer = with_template("{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}")
    text = tokenizer.apply_chat_template([{"role": "user", "content": "2+2"}], tokenize=False)
    assert ChatEncoder(tokenizer).prompt("2+2") == tokenizer.encode(text, add_special_tokens=False)


LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = "{% set n = namespace(s='aaaaaaaa') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LOOP, r"takes more than 0.3 s"),
        (DOUBLING, "memory|MemoryError|takes more"),
        ("{{ 'a' * 10 ** 11 }}", "memory|MemoryError"),
        ("{{ 'a' * 2000000 }}", "makes 2000000 characters"),
        ("{# " + "a" * 300_000 + " #}", "has 300006 characters, more than 200000"),
    ],
)
def test_a_template_that_is_too_large_is_refused(monkeypatch, text, problem):
    monkeypatch.setattr(template, "RENDER_S", 0.3)
    monkeypatch.setattr(template, "PROBE_BYTES", 2**28)
    begun = time.monotonic()
    with pytest.raises(fg.ConfigError, match=problem):
        ChatEncoder(with_template(text))
    assert time.monotonic() - begun < 10


def test_a_template_that_is_slow_for_one_prompt_only_is_ended(monkeypatch):
    encoder = ChatEncoder(
        with_template("{% if 'bomb' in messages[0].content %}" + LOOP + "{% endif %}{{ messages[0].content }}x")
    )
    monkeypatch.setattr(template, "RENDER_S", 0.3)
    begun = time.monotonic()
    with pytest.raises(fg.ConfigError, match=r"chat template takes more than 0.3 s for a chat of 1 messages"):
        encoder.prompt("a bomb")
    assert time.monotonic() - begun < 3
    assert encoder.prompt("a flower") == encoder.tokenizer.encode("a flowerx", add_special_tokens=False)


def test_data_sets_with_scripts_are_not_read_by_an_old_package(tmp_path, monkeypatch):
    import datasets

    from fdiv_gym.data import read_records

    monkeypatch.setattr(datasets, "__version__", "3.6.0")
    with pytest.raises(fg.ConfigError, match=r"datasets 3.6.0 can run scripts of a data set: pip install"):
        read_records(str(tmp_path))
