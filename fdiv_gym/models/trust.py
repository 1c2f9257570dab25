"""Refusal of model folders that could run code: pickled weights, Python files, kernels named by a configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fdiv_gym.errors import TrainerError
from fdiv_gym.registry.messages import cause_of, printable

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
ARGUMENTS = "training_args.bin"  # transformers' Trainer writes it beside weights; nothing reads it
INDEX = "model.safetensors.index.json"


def refuse_code(folder: str | Path, revision: str | None = None, *, offline: bool, trust_remote_code: bool) -> None:
    """Refuse a model whose configuration names code of its own, unless that code is trusted.

    Args:
        folder: a local folder or a hub id.
        revision: hub revision.
        offline: whether only local files may be read.
        trust_remote_code: whether the model's own Python code may run.

    Raises:
        TrainerError: weights in pickles, an adapter, or a configuration that names Python code, a kernel of the hub or
            a pickle, or that is no table.
        OSError: the configuration cannot be read.
    """
    from transformers import PretrainedConfig
    from transformers.utils import find_adapter_config_file

    refuse_pickles(Path(folder))
    if find_adapter_config_file(str(folder), revision=revision, local_files_only=offline):
        raise TrainerError(
            f"model {str(folder)!r} has an adapter (adapter_config.json), which transformers would add to the model "
            "without a word: merge it into its base model, or remove it"
        )
    found, _ = PretrainedConfig.get_config_dict(str(folder), revision=revision, local_files_only=offline)
    if not isinstance(found, dict):
        raise TrainerError(f"model {str(folder)!r}: its config.json holds no JSON object")
    for key, value in _strings(found):
        if key == "transformers_weights" and not value.endswith((".safetensors", ".safetensors.index.json")):
            raise TrainerError(f"model {str(folder)!r}: its config.json names the weights {value!r}; {_ONLY}")
        if trust_remote_code:
            continue
        if key.lstrip("_").startswith(("attn_implementation", "experts_implementation")) and "/" in value:
            raise TrainerError(
                f"model {str(folder)!r}: its config.json names the kernel {value!r}, which is code from the hub; "
                f"{_TRUST}"
            )
    own = found.get("auto_map")
    if own and not trust_remote_code and not _is_known(found.get("model_type")):
        raise TrainerError(
            f"model {str(folder)!r} needs Python code of its own (auto_map in its config.json); {_TRUST}"
        )


def refuse_pickles(folder: Path) -> None:
    """Refuse a local folder whose weights are pickles, alone or named by the index of the safetensors.

    Raises:
        TrainerError: the weights are pickles; the message names the file.
    """
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES and path.name != ARGUMENTS)
    if pickles and not [*folder.glob("*.safetensors")]:
        raise TrainerError(f"model folder {folder} has its weights in {pickles[0]}, a pickle; {_ONLY}")
    index = folder / INDEX
    if not index.is_file():
        return
    try:
        files = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TrainerError(f"model folder {folder}: {INDEX} cannot be read: {error}") from None
    for name in sorted(map(str, files)):
        if not name.endswith(".safetensors") or Path(name).name != name:
            raise TrainerError(f"model folder {folder}: {INDEX} names {name!r}; {_ONLY}")


def reason_of(error: BaseException) -> str:
    """The first line of an error of transformers, with the option of fdiv-gym where the text means that option."""
    text = str(error).strip().split("\n")[0]
    if "trust_remote_code" in str(error) or "execute the" in text:
        return f"it needs Python code of its own; {_TRUST}"
    if "model.safetensors" in text or "use_safetensors" in text:
        return f"{text}; {_ONLY}"
    # Texts of other classes, e.g. of a KeyError, mean little without the class.
    return printable(text) if isinstance(error, (OSError, ValueError, RuntimeError)) else cause_of(error)


_ONLY = "only safetensors are read, because reading a pickle can run code: convert the weights, or ask the author to"
_TRUST = "if you trust the author, set model.trust_remote_code = true"


def _is_known(model_type: Any) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in nested JSON, with the nearest key above it."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            # The kernels of sub-models are a table under the same key.
            yield from _strings(item, key if key.lstrip("_").startswith("attn_") else str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, key)
