"""The policy: a transformers model, its tokenizer, its frozen reference, and log-probs of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.config import ModelConfig
from fdiv_gym_accelerate.embedded import Demonstrations, Progress, embedded_model_folder
from fdiv_gym_accelerate.quiet import quiet_transformers


@dataclass(frozen=True)
class Row:
    """One token sequence with its loss mask, ready for a forward pass.

    Args:
        token_ids: prompt and response.
        loss_mask: True on response tokens; same length.
        old_logps: log-probs at sampling time (0.0 elsewhere), or None for data nobody sampled here.
    """

    token_ids: Sequence[int]
    loss_mask: Sequence[bool]
    old_logps: Sequence[float] | None = None


@dataclass(frozen=True)
class Padded:
    """Rows padded on the right: the inputs of a forward pass and what belongs to each predicted token."""

    ids: Tensor  # [b, T]
    attention: Tensor  # [b, T]
    mask: Tensor  # [b, T-1] bool: the token predicted at this place is a response token
    old_logps: Tensor | None  # [b, T-1]


def pad(rows: Sequence[Row], pad_token: int, device: torch.device) -> Padded:
    """Stack rows; position t of mask and log-probs speaks of token t + 1."""
    width = max(len(r.token_ids) for r in rows)
    ids = torch.full((len(rows), width), pad_token, dtype=torch.long)
    attention = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    old = torch.zeros((len(rows), width)) if all(r.old_logps is not None for r in rows) else None
    for i, row in enumerate(rows):
        length = len(row.token_ids)
        ids[i, :length] = torch.tensor(list(row.token_ids))
        attention[i, :length] = 1
        mask[i, :length] = torch.tensor(list(row.loss_mask))
        if old is not None and row.old_logps is not None:
            old[i, :length] = torch.tensor(list(row.old_logps))
    return Padded(
        ids.to(device), attention.to(device), mask[:, 1:].to(device), None if old is None else old[:, 1:].to(device)
    )


def token_logps(model: Any, batch: Padded, temperature: float) -> Tensor:
    """Log-probs [b, T-1] in fp32 (or wider) of the tokens of ``batch`` under the tempered policy."""
    output = model(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False)
    logits = output.logits[:, :-1]
    logits = logits if logits.dtype == torch.float64 else logits.float()
    logits = logits / temperature
    chosen = logits.gather(-1, batch.ids[:, 1:].unsqueeze(-1)).squeeze(-1)
    logps: Tensor = chosen - torch.logsumexp(logits, dim=-1)
    return logps


def load_model(folder: str | Path, revision: str | None = None) -> Any:
    """A causal language model in fp32 from a local folder or the hub.

    Raises:
        TrainerError: no such model, or a folder without weights.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    check_model_folder(folder)
    try:
        with quiet_transformers():
            model, found = AutoModelForCausalLM.from_pretrained(
                folder, revision=revision, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise fg.TrainerError(f"cannot load a model from {str(folder)!r}: {_first_line(error)}") from None
    if found["missing_keys"]:  # transformers would draw them at random, and the reference's anew
        some = ", ".join(sorted(found["missing_keys"])[:3])
        raise fg.TrainerError(f"the weights in {str(folder)!r} are incomplete: {some} missing")
    return model


def load_tokenizer(folder: str | Path, revision: str | None = None) -> Any:
    """The tokenizer beside the model.

    Raises:
        TrainerError: there is none, or it has no end token.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, revision=revision)
    except (OSError, ValueError, KeyError) as error:
        raise fg.TrainerError(f"cannot load a tokenizer from {str(folder)!r}: {_first_line(error)}") from None
    if tokenizer.eos_token_id is None:
        raise fg.TrainerError(f"the tokenizer of {str(folder)!r} has no end token: responses could not end")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_model_folder(folder: str | Path) -> None:
    """Refuse a local folder that holds no model, before transformers takes its name for a hub id."""
    path = Path(folder)
    if not path.is_dir():
        if str(folder).startswith((".", "/", "~")):
            raise fg.TrainerError(f"there is no model folder {path}")
        return
    if (path / "checkpoints").is_dir():
        newest = max((path / "checkpoints").glob("step-*/model"), default=path / "checkpoints" / "step-N" / "model")
        raise fg.TrainerError(f"{path} is a run folder; name the model in one of its checkpoints: {newest}")
    if not (path / "config.json").is_file():
        raise fg.TrainerError(f"model folder {path} has no config.json: it is no transformers model")
    if not [*path.glob("*.safetensors"), *path.glob("*.bin")]:
        raise fg.TrainerError(f"model folder {path} has no weights (*.safetensors)")


def model_source(model: ModelConfig, demonstrations: Demonstrations | None, progress: Progress | None = None) -> str:
    """Where the initial model comes from: the embedded model's cache, a folder, or a hub id.

    Raises:
        ConfigError: the embedded model is asked for without anything to warm it up on.
    """
    if model.name_or_path != "embedded":
        return model.name_or_path
    if demonstrations is None:
        raise fg.ConfigError("the embedded model is warmed up on an environment: name one, or set model.name_or_path")
    return str(embedded_model_folder(model.embedded, demonstrations, progress))


def weights_hash(model: Any) -> str:
    """SHA-256 (first 16 hex digits) of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
