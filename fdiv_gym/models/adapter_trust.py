"""Adapter folders that are not trusted: what of ``adapter_config.json`` is read, and what is refused.

Nothing is loaded from a place that the folder names, no name in it is used as a regular expression, and no pickle is
read. The options are read into ``LoraOptions``; any other option of peft that changes the model is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdiv_gym.errors import ConfigError, TrainerError
from fdiv_gym.models.config import LoraOptions
from fdiv_gym.models.trust import refuse_pickles
from fdiv_gym.registry.messages import shorten
from fdiv_gym.registry.options import build_options

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE = "base.json"
"""Name and weights hash of the model that the adapter was trained on; fdiv-gym writes it beside peft's files."""

_READ = {
    "r": "rank", "lora_alpha": "alpha", "target_modules": "targets", "modules_to_save": "modules_to_save",
    "use_dora": "dora", "use_rslora": "rslora",
}  # fmt: skip
_WITHOUT_EFFECT = {
    "base_model_name_or_path", "revision", "peft_version", "inference_mode", "lora_dropout", "fan_in_fan_out",
    "megatron_core", "qalora_group_size",
}  # fmt: skip
_ONLY: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "task_type": (None, "CAUSAL_LM"),
    "bias": ("none",),
    "init_lora_weights": (True, False),  # the others change the base weights
}
_NOTHING: tuple[Any, ...] = (None, False, {}, [])


def is_adapter(folder: str | Path) -> bool:
    """Whether a local folder holds an adapter and no whole model."""
    return (Path(folder) / CONFIG).is_file() and not (Path(folder) / "config.json").is_file()


def read_adapter(folder: Path) -> tuple[LoraOptions, Mapping[str, Any]]:
    """The options of an adapter, and what the folder says about its base model.

    Returns:
        The options; and ``name_or_path``, with ``weights``, the hash of the base, if the folder has a ``base.json``.

    Raises:
        TrainerError: there is no adapter, it is not a plain LoRA adapter, or its configuration asks for more than that.
    """
    if not (folder / CONFIG).is_file():
        raise TrainerError(f"model.adapter: there is no adapter in {folder}: it has no {CONFIG}")
    refuse_pickles(folder)
    if not (folder / WEIGHTS).is_file():
        raise TrainerError(f"adapter {folder} has no {WEIGHTS}: only safetensors are read")
    record = _json(folder / CONFIG)
    _refuse_more(folder, record)
    targets = record.get("target_modules")
    if not isinstance(targets, list):
        raise TrainerError(
            f"adapter {folder}: {CONFIG} has target_modules = {shorten(targets)}; only a list of names is read, "
            "because peft takes a text as a regular expression"
        )
    values = {ours: record[key] for key, ours in _READ.items() if record.get(key) is not None}
    try:
        lora = build_options(LoraOptions, {**values, "targets": sorted(map(str, targets))}, f"adapter {folder}")
    except ConfigError as error:
        raise TrainerError(str(error)) from None
    _refuse_other_rank(folder, lora)
    facts = _json(folder / BASE) if (folder / BASE).is_file() else {}
    return lora, {"name_or_path": record.get("base_model_name_or_path"), **facts}


def refuse_other_base(folder: Path, facts: Mapping[str, Any], name: str, weights: str) -> None:
    """Refuse an adapter that was trained on another model.

    Args:
        folder: of the adapter.
        facts: what ``read_adapter`` found.
        name: the model in use.
        weights: the hash of its weights.

    Raises:
        TrainerError: another hash, or without one another name.
    """
    recorded = facts.get("weights")
    if recorded is not None:
        if recorded != weights:
            raise TrainerError(
                f"adapter {folder} was trained on {shorten(facts.get('name_or_path'))} with weights {recorded}, but "
                f"model {name!r} has {weights}: name that base model in model.name_or_path"
            )
    elif facts.get("name_or_path") != name:
        raise TrainerError(
            f"adapter {folder} names the base model {shorten(facts.get('name_or_path'))}, which is not read; "
            f"model.name_or_path is {name!r}: set it to the adapter's base, if you trust that model; if it is the same "
            f"model, write {name!r} as base_model_name_or_path into {CONFIG}"
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TrainerError(f"{path} cannot be read: {error}") from None
    if not isinstance(record, dict):
        raise TrainerError(f"{path} holds no JSON object")
    return record


def _refuse_more(folder: Path, record: Mapping[str, Any]) -> None:
    for key, value in record.items():
        if key in _READ or key in _WITHOUT_EFFECT:
            continue
        allowed = _ONLY.get(key, _NOTHING)
        if not any(value is known or (value == known and type(value) is type(known)) for known in allowed):
            raise TrainerError(
                f"adapter {folder}: {CONFIG} has {shorten(key)} = {shorten(value)}; only LoRA, DoRA and rsLoRA on "
                "linear layers are read"
            )


def _refuse_other_rank(folder: Path, lora: LoraOptions) -> None:
    """Refuse a rank that the file's own tensors do not have: the model would be built with it first."""
    from safetensors import safe_open

    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            ranks = {file.get_slice(key).get_shape()[0] for key in file.keys() if ".lora_A." in key}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own class
        raise TrainerError(f"adapter {folder}: {WEIGHTS} cannot be read: {error}") from None
    if ranks != {lora.rank}:
        found = ", ".join(map(str, sorted(ranks))) or "none"
        raise TrainerError(f"adapter {folder}: {CONFIG} has r = {lora.rank}, but the ranks in {WEIGHTS} are {found}")
