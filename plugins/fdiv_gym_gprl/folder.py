"""Folders of preference models: our own, and the layout of the checkpoints of general-preference-model.

Both hold the backbone's weights under the names of a causal language model and the heads beside them, as
``value_head.weight`` [2k, h] and ``prompt_head.weight`` [k, h]. Our own also has ``gpm.json`` and a manifest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.models import damage_of, quiet_transformers, refuse_code

RECORD = "gpm.json"
FORMAT = 1
HEADS = ("value_head.weight", "prompt_head.weight")


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Args:
        backbone: a transformers model without a head.
        heads: the weights of the heads, fp32.
        record: the configuration of ``gpm.json``; None for a released checkpoint.
    """

    backbone: torch.nn.Module
    heads: dict[str, Tensor]
    record: dict[str, Any] | None


def write_folder(
    folder: Path, config: dict[str, Any], backbone: Any, heads: dict[str, Tensor], weights: dict[str, Tensor] | None
) -> None:
    """Write the files of a preference model into an empty folder.

    Args:
        folder: is filled.
        config: for ``gpm.json``.
        backbone: a transformers model without a head.
        heads: their weights.
        weights: of the backbone by its own names; those present if None.
    """
    from huggingface_hub import save_torch_state_dict

    prefix = f"{backbone.base_model_prefix}." if backbone.base_model_prefix else ""
    own = backbone.state_dict() if weights is None else weights
    state = {f"{prefix}{name}": tensor for name, tensor in own.items()} | heads
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_torch_state_dict(plain, str(folder), metadata={"format": "pt"})
    backbone.config.save_pretrained(folder)
    text = json.dumps({"format": FORMAT, **config}, indent=2, allow_nan=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def read_folder(folder: Path, dtype: torch.dtype) -> Found:
    """Backbone, heads and configuration of a folder.

    Args:
        folder: our own, or of a released checkpoint.
        dtype: of the backbone.

    Raises:
        TrainerError: there is none, its files are damaged or incomplete, or it could run code.
    """
    if not folder.is_dir():
        raise fg.TrainerError(f"there is no folder of a preference model at {folder}")
    strange = next((path for path in sorted(folder.iterdir()) if not path.is_file() and not path.is_dir()), None)
    if strange is not None:  # who opens a pipe waits for ever
        raise fg.TrainerError(f"preference model {folder}: {strange.name} is not a regular file; remove it")
    record = _record(folder) if (folder / RECORD).exists() else None
    if not (folder / "config.json").is_file():
        raise fg.TrainerError(f"preference model {folder} has no config.json of its backbone")
    try:
        refuse_code(folder, offline=True, trust_remote_code=False)
    except (OSError, ValueError, RecursionError) as error:
        raise fg.TrainerError(f"preference model {folder}: config.json cannot be read: {error}") from None
    heads = _heads(folder)
    return Found(_backbone(folder, dtype), heads, record)


def released_form(heads: dict[str, Tensor]) -> dict[str, Any]:
    """The options that a released checkpoint has by the shapes of its heads and by the code of its inference.

    Raises:
        TrainerError: the value head has an odd number of outputs, above one.
    """
    outputs, has_prompt_head = len(heads[HEADS[0]]), HEADS[1] in heads
    if outputs == 1 and not has_prompt_head:
        return {"dimensions": 1, "eigenvalues": "one", "pinned": True}
    if outputs % 2:
        raise fg.TrainerError(f"{HEADS[0]} has {outputs} outputs: two for each dimension are expected")
    eigenvalues = "softmax" if has_prompt_head else "one"
    return {"dimensions": outputs // 2, "eigenvalues": eigenvalues, "normalise": True}


def _record(folder: Path) -> dict[str, Any]:
    """The configuration in ``gpm.json`` of a folder that is as it was sealed."""
    damage = damage_of(folder)
    if damage is not None:
        raise fg.TrainerError(f"preference model {folder} is damaged: {damage}; use an undamaged copy")
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise fg.TrainerError(f"preference model {folder}: {RECORD} cannot be read: {error}") from None
    if not isinstance(record, dict) or record.pop("format", None) != FORMAT:
        raise fg.TrainerError(
            f"preference model {folder}: {RECORD} is not of format {FORMAT}, which this version reads"
        )
    return record


def _heads(folder: Path) -> dict[str, Tensor]:
    """The weights of the heads, fp32, wherever among the files they are."""
    from safetensors import safe_open

    heads: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                held = {*file.keys()}
                biases = sorted({name.replace("weight", "bias") for name in HEADS} & held)
                if biases:
                    raise fg.TrainerError(
                        f"preference model {folder} has {biases[0]}: heads have no bias, in ours and in the release"
                    )
                for name in sorted({*HEADS} & held):
                    if name in heads:
                        raise fg.TrainerError(f"preference model {folder} has {name} twice: remove one of its files")
                    heads[name] = file.get_tensor(name).float()
        except fg.TrainerError:
            raise
        except Exception as error:  # safetensors raises its own class
            raise fg.TrainerError(f"preference model {folder}: {path.name} cannot be read: {error}") from None
    if HEADS[0] not in heads:
        raise fg.TrainerError(
            f"{folder} holds no preference model: no *.safetensors of it has {HEADS[0]}; a language model becomes one "
            'by training: fdiv-gym train with trainer.name = "preference-model"'
        )
    for name, weight in heads.items():
        if weight.ndim != 2 or not weight.isfinite().all():
            raise fg.TrainerError(
                f"preference model {folder}: {name} is not finite, or no matrix: use an undamaged copy"
            )
    return heads


def _backbone(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModel
    from transformers.utils import logging

    said = logging.get_verbosity()
    logging.set_verbosity_error()  # of the heads, and the output layer of a language model: they are not its own
    try:
        with quiet_transformers():
            model, found = AutoModel.from_pretrained(
                folder, dtype=dtype, output_loading_info=True, local_files_only=True, trust_remote_code=False,
                use_safetensors=True,
            )  # fmt: skip
    except Exception as error:  # a wrong configuration raises any class: of transformers, safetensors or Python
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise fg.TrainerError(f"preference model {folder}: the backbone cannot be loaded: {reason}") from None
    finally:
        logging.set_verbosity(said)
    if found["missing_keys"]:
        some = ", ".join(sorted(found["missing_keys"])[:3])
        raise fg.TrainerError(f"preference model {folder}: the backbone's weights are incomplete: {some} missing")
    broken = next((name for name, tensor in model.named_parameters() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise fg.TrainerError(f"preference model {folder}: the weights {broken} are not finite: use an undamaged copy")
    return model
