"""Risk: a GGUF file is read wrongly, or a damaged or hostile one is read at all."""

import shutil
import struct

import gguf
import numpy as np
import pytest
import torch
from tiny_gguf import TEMPLATE, arrays, tiny_llama, write_gguf

import fdiv_gym as fg
from fdiv_gym.models.config import ModelConfig
from fdiv_gym.models.gguf import folder_of_gguf
from fdiv_gym.models.gguf_header import read_gguf_header
from fdiv_gym.models.loading import load_model, load_tokenizer, model_source


def test_the_weights_and_the_tokenizer_are_those_that_were_written(converted):
    model, wanted = load_model(converted), tiny_llama().state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, wanted[name]), name
    assert not hasattr(model.config, "quantization_config")
    tokenizer = load_tokenizer(converted)
    assert (tokenizer.eos_token, tokenizer.chat_template) == ("<|im_end|>", TEMPLATE)
    assert len(tokenizer.encode("12+1", add_special_tokens=False)) == 3  # 12 is one token
    assert tokenizer.decode(tokenizer.encode("Grüße, 12!", add_special_tokens=False)) == "Grüße, 12!"


def test_quantised_weights_are_those_of_the_packages_own_dequantisation(tmp_path, own_cache):
    kind = gguf.GGMLQuantizationType.Q4_1
    write_gguf(tmp_path / "q.gguf", kind)
    assert read_gguf_header(tmp_path / "q.gguf").quantization == "Q4_1"
    name, place = "blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"
    wanted = gguf.quants.dequantize(gguf.quants.quantize(arrays()[name], kind), kind)
    found = load_model(folder_of_gguf(tmp_path, "q.gguf")).state_dict()[place].numpy()
    assert np.array_equal(found, wanted)
    assert not np.array_equal(found, tiny_llama().state_dict()[place].numpy())


def test_the_header_counts_the_weights(tiny_file):
    header = read_gguf_header(tiny_file)
    assert header.parameters == sum(array.size for array in arrays().values())
    assert header.metadata["general.license"] == "apache-2.0"


def test_a_file_is_converted_once_and_again_if_the_copy_is_damaged(tiny_file, own_cache):
    model = ModelConfig(name_or_path=str(tiny_file.parent), gguf_file="tiny.gguf")
    folder = model_source(model, None)
    weights = next(own_cache.rglob("model.safetensors"))
    before = weights.stat().st_mtime_ns
    assert model_source(model, None) == folder
    assert weights.stat().st_mtime_ns == before
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert model_source(model, None) == folder
    load_model(folder)
    assert not [*own_cache.rglob(".*")]


def test_other_files_beside_it_take_no_part(tiny_file, tmp_path, own_cache):
    (tmp_path / "tiny.gguf").symlink_to(tiny_file)
    (tmp_path / "adapter_config.json").write_text("{")
    (tmp_path / "config.json").write_text("{")
    load_model(folder_of_gguf(tmp_path, "tiny.gguf"))


@pytest.mark.parametrize("name", ["../tiny.gguf", "/tiny.gguf", "a/tiny.gguf", ".."])
def test_a_path_is_no_file_name(name):
    with pytest.raises(fg.ConfigError, match="gguf_file"):
        _parsed({"name_or_path": "folder", "gguf_file": name})


def test_the_embedded_model_has_no_file():
    with pytest.raises(fg.ConfigError, match="gguf_file needs name_or_path"):
        _parsed({"gguf_file": "tiny.gguf"})


def _parsed(model):
    from fdiv_gym.runs.config import parse_config

    return parse_config({"env": {"id": "math/Addition-v0"}, "model": model})


def test_a_folder_of_gguf_files_says_how_to_name_one(tiny_file):
    with pytest.raises(fg.TrainerError, match=r"name one by model.gguf_file: tiny.gguf"):
        load_model(tiny_file.parent)
    with pytest.raises(fg.TrainerError, match=r"no GGUF file 'other.gguf' in .*; GGUF files there: tiny.gguf"):
        folder_of_gguf(tiny_file.parent, "other.gguf")
    with pytest.raises(fg.TrainerError, match="is a file in a local folder"):
        folder_of_gguf("owner/name", "tiny.gguf")


def header_of(entries=b"", tensors=b"", counts=(0, 0), magic=b"GGUF", version=3):
    return magic + struct.pack("<IQQ", version, *counts) + entries + tensors


def text(value):
    return struct.pack("<Q", len(value)) + value


HOSTILE = {
    "not a GGUF file": b"PK\x03\x04" + b"\0" * 60,
    "truncated": b"GGUF\x03\0\0\0",
    "GGUF version 7": header_of(version=7),
    f"announces {2**60} tensors": header_of(counts=(2**60, 0)),
    f"announces {2**60} entries": header_of(counts=(0, 2**60)),
    f"text of {2**50} bytes": header_of(struct.pack("<Q", 2**50), counts=(0, 1)),
    "arrays of more than": header_of(text(b"a") + struct.pack("<IIQ", 9, 0, 2**40), counts=(0, 1)),
    "array of elements of type 9": header_of(text(b"a") + struct.pack("<IIQ", 9, 9, 1), counts=(0, 1)),
    "value of an unknown type": header_of(text(b"a") + struct.pack("<I", 99), counts=(0, 1)),
    "alignment 0": header_of(text(b"general.alignment") + struct.pack("<II", 4, 0), counts=(0, 1)),
    "of 4000 dimensions": header_of(tensors=text(b"w") + struct.pack("<I", 4000), counts=(1, 0)),
    "ends beyond the file": header_of(tensors=text(b"w") + struct.pack("<IQQIQ", 2, 2**31, 2**31, 0, 0), counts=(1, 0)),
    "tensors that overlap: together they have 256 bytes": header_of(
        tensors=b"".join(text(name) + struct.pack("<IQIQ", 1, 32, 0, 0) for name in (b"v", b"w")) + bytes(200),
        counts=(2, 0),
    ),
    "the value nan": header_of(text(b"a.eps") + struct.pack("<If", 6, float("nan")), counts=(0, 1)),
    "the value inf": header_of(text(b"a.base") + struct.pack("<Id", 12, float("inf")), counts=(0, 1)),
    "tensor 'w' of an unknown type": header_of(tensors=text(b"w") + struct.pack("<IQIQ", 1, 1, 99, 0), counts=(1, 0)),
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_a_hostile_header_is_refused(reason, tmp_path, own_cache):
    (tmp_path / "bad.gguf").write_bytes(HOSTILE[reason])
    with pytest.raises(fg.TrainerError, match=reason):
        folder_of_gguf(tmp_path, "bad.gguf")
    assert not [path for path in own_cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("announced", [0, 1, 3, 2**31])
def test_a_wrong_number_of_layers_is_refused(announced, tmp_path, own_cache, monkeypatch):
    """One layer fewer was a smaller model without a word, and very many were built for hours."""
    monkeypatch.setattr(
        gguf.GGUFWriter, "add_block_count", lambda self, _: self.add_uint32("llama.block_count", announced)
    )
    write_gguf(tmp_path / "bad.gguf")
    with pytest.raises(fg.TrainerError, match=f"announces {announced} layers and has the tensors of 2"):
        folder_of_gguf(tmp_path, "bad.gguf")


def test_every_truncation_is_refused(tiny_file, tmp_path):
    content = tiny_file.read_bytes()
    for length in [*range(0, 2_000, 37), len(content) // 2, len(content) - 40]:
        (tmp_path / "cut.gguf").write_bytes(content[:length])
        with pytest.raises(fg.TrainerError, match=r"truncated|does not start with GGUF"):
            read_gguf_header(tmp_path / "cut.gguf")


def test_weights_that_are_missing_or_not_finite_are_refused(tmp_path, own_cache):
    lost = "blk.0.ffn_up.weight"
    write_gguf(tmp_path / "lost.gguf", change=lambda name, array: None if name == lost else array)
    with pytest.raises(fg.TrainerError, match=r"incomplete: .*up_proj"):
        folder_of_gguf(tmp_path, "lost.gguf")
    write_gguf(tmp_path / "nan.gguf", change=lambda name, array: array * np.nan if name == lost else array)
    with pytest.raises(fg.TrainerError, match="not finite"):
        folder_of_gguf(tmp_path, "nan.gguf")
    assert not [*own_cache.rglob("*.safetensors")]


def test_a_full_disk_is_said_before_anything_is_written(tiny_file, own_cache, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, 1_000))
    with pytest.raises(fg.TrainerError, match=r"takes 0 MB.*FDIV_GYM_CACHE"):
        folder_of_gguf(tiny_file.parent, tiny_file.name)
