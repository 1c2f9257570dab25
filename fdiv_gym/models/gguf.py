"""GGUF files: de-quantised by transformers, and stored as plain model folders."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from fdiv_gym.cache import cache_folder
from fdiv_gym.errors import TrainerError
from fdiv_gym.manifest import damage_of, sha256_of
from fdiv_gym.models.gguf_header import GgufHeader, read_gguf_header
from fdiv_gym.models.quiet import quiet_transformers
from fdiv_gym.models.sealing import sealed
from fdiv_gym.models.trust import reason_of

CONVERSION = 1
"""Increases when the same file would give another folder."""


def folder_of_gguf(folder: str | Path, name: str) -> Path:
    """The plain folder of a GGUF file in ``folder``; it is converted once, and kept in the cache by its SHA-256.

    Raises:
        TrainerError: there is no such file, it is damaged, it is of an unknown architecture, or the disk is full.
    """
    path = Path(folder) / name
    if not Path(folder).is_dir():
        raise TrainerError(
            f"model.gguf_file is a file in a local folder, and model.name_or_path = {str(folder)!r} is none: "
            "download it"
        )
    if not path.is_file():
        there = ", ".join(sorted(found.name for found in Path(folder).glob("*.gguf"))) or "none"
        raise TrainerError(f"there is no GGUF file {name!r} in {folder}; GGUF files there: {there}")
    with storing():
        digest = sha256_of(path)
        target = cache_folder() / "models" / "converted" / f"{digest[:16]}-{CONVERSION}"
        if not target.is_dir() or damage_of(target) is not None:
            with sealed(target) as temporary:
                header = convert_gguf(path, temporary)
                record = {"source": path.name, "sha256": digest, "parameters": header.parameters}
                (temporary / "provenance.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return target


def convert_gguf(path: Path, folder: Path) -> GgufHeader:
    """Write the model and the tokenizer of a GGUF file into an existing folder, in fp32 safetensors.

    Raises:
        TrainerError: it is no GGUF file, it is damaged, its architecture is unknown, its weights are incomplete or not
            finite, or the disk has too little space.
        MissingExtraError: the package ``gguf`` is not installed.
        OSError: the file cannot be read, or the folder cannot be written.
    """
    header = read_gguf_header(path)
    refuse_if_full(folder, 4 * header.parameters)
    model, tokenizer = _loaded(path)
    config = model.config
    # save_pretrained refuses a model that was loaded from a quantised file, and its weights are plain by now.
    del config.quantization_config
    with torch.random.fork_rng(devices=[]):
        plain = type(model)(config)
    plain.load_state_dict(model.state_dict())
    with quiet_transformers():
        plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return header


def _loaded(path: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # In a folder of its own: other files beside it, such as an adapter or a configuration, take no part.
    with tempfile.TemporaryDirectory() as alone:
        (Path(alone) / "model.gguf").symlink_to(path.resolve())
        try:
            with quiet_transformers():
                given: dict[str, Any] = {
                    "gguf_file": "model.gguf",
                    "local_files_only": True,
                    "trust_remote_code": False,
                }
                tokenizer = AutoTokenizer.from_pretrained(alone, **given)
                model, found = AutoModelForCausalLM.from_pretrained(
                    alone, dtype=torch.float32, output_loading_info=True, use_safetensors=True, **given
                )
        except Exception as error:  # a wrong file raises any class: of transformers, gguf or Python
            raise TrainerError(f"cannot load the GGUF file {path}: {reason_of(error)}") from None
    if found["missing_keys"]:
        raise TrainerError(
            f"the weights in {path} are incomplete: {', '.join(sorted(found['missing_keys'])[:3])} missing"
        )
    broken = next((name for name, tensor in model.named_parameters() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise TrainerError(f"the weights {broken} in {path} are not finite: fetch the file again")
    return model, tokenizer


def refuse_if_full(folder: Path, needed: int) -> None:
    """Refuse to write ``needed`` bytes where the disk has less space.

    Raises:
        TrainerError: naming both numbers.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TrainerError(
            f"the model takes {needed / 1e6:.0f} MB, and the disk of {folder} has {free / 1e6:.0f} MB free; "
            "set FDIV_GYM_CACHE to a folder with more space"
        )


@contextmanager
def storing() -> Iterator[None]:
    """Turn a file that cannot be read, or a cache that cannot be written, into one clear error.

    Raises:
        TrainerError: with the reason.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by its own class
        raise TrainerError(f"cannot store the model: {error}; FDIV_GYM_CACHE names a folder with free space") from None
