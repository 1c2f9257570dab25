"""Loading of a causal language model and its tokenizer, from the embedded recipe, a folder or the hub."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from fdiv_gym.errors import ConfigError, TrainerError
from fdiv_gym.models.added import refuse_damaged, resolve
from fdiv_gym.models.config import ModelConfig
from fdiv_gym.models.embedded import Demonstrations, Progress, embedded_model_folder
from fdiv_gym.models.gguf import folder_of_gguf
from fdiv_gym.models.hub import cache_only
from fdiv_gym.models.quiet import quiet_transformers
from fdiv_gym.models.trust import reason_of, refuse_code, refuse_pickles

PREFERENCE_MODEL = "gpm.json"
"""In the folder of a preference model, whose backbone alone has the layout of a language model."""


def load_model(
    folder: str | Path, revision: str | None = None, *, trust_remote_code: bool = False, attention: str = "auto"
) -> Any:
    """A causal language model in fp32 from the safetensors of a local folder or the hub.

    Args:
        folder: a local folder, the name of an added model, or a hub id.
        revision: hub revision.
        trust_remote_code: run the Python code of the model's author, if it has any.
        attention: attention implementation of transformers; ``auto`` is the library's choice.

    Raises:
        TrainerError: no such model, a folder without weights or with pickled ones, weights that are not finite, or a
            model that needs code of its own without ``trust_remote_code``.
    """
    from transformers import AutoModelForCausalLM

    folder = resolve(folder)
    check_model_folder(folder)
    offline = cache_only(folder, revision)
    try:
        refuse_code(folder, revision, offline=offline, trust_remote_code=trust_remote_code)
        with quiet_transformers():
            model, found = AutoModelForCausalLM.from_pretrained(
                folder, revision=revision, dtype=torch.float32, output_loading_info=True, local_files_only=offline,
                trust_remote_code=trust_remote_code, use_safetensors=True,
                attn_implementation=None if attention == "auto" else attention,
            )  # fmt: skip
    except TrainerError:
        raise
    except Exception as error:  # a wrong configuration raises any class: of transformers, safetensors or Python
        raise TrainerError(f"cannot load a model from {str(folder)!r}: {reason_of(error)}") from None
    if found["missing_keys"]:  # transformers would initialise them at random, differently for policy and reference
        some = ", ".join(sorted(found["missing_keys"])[:3])
        raise TrainerError(f"the weights in {str(folder)!r} are incomplete: {some} missing")
    broken = next((name for name, tensor in model.named_parameters() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise TrainerError(f"the weights {broken} in {str(folder)!r} are not finite: use an earlier or undamaged copy")
    return model


def load_tokenizer(folder: str | Path, revision: str | None = None, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model.

    Raises:
        TrainerError: there is none, it is empty, it has no end token, or it needs code of its own without
            ``trust_remote_code``.
    """
    from transformers import AutoTokenizer

    folder = resolve(folder)
    offline = cache_only(folder, revision)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, revision=revision, local_files_only=offline, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # the library tokenizers raises Exception itself, a wrong configuration any class
        raise TrainerError(f"cannot load a tokenizer from {str(folder)!r}: {reason_of(error)}") from None
    if tokenizer.eos_token_id is None:
        raise TrainerError(f"the tokenizer of {str(folder)!r} has no end token, so responses cannot end")
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):  # what transformers makes of a folder without its files
        raise TrainerError(f"{str(folder)!r} has no tokenizer: its vocabulary is empty; add the model's tokenizer.json")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_model_folder(folder: str | Path) -> None:
    """Refuse a local folder without a model, before transformers interprets its name as a hub id."""
    path = Path(folder)
    if not path.is_dir():
        if str(folder).startswith((".", "/", "~")):
            raise TrainerError(f"there is no model folder {path}")
        return
    if (path / "checkpoints").is_dir():
        newest = max((path / "checkpoints").glob("step-*/model"), default=path / "checkpoints" / "step-N" / "model")
        raise TrainerError(f"{path} is a run folder; name the model in one of its checkpoints: {newest}")
    ggufs = sorted(found.name for found in path.glob("*.gguf"))
    if ggufs and not [*path.glob("*.safetensors")]:
        raise TrainerError(f"model folder {path} holds GGUF files; name one by model.gguf_file: {', '.join(ggufs[:5])}")
    if (path / "adapter_config.json").is_file() and not (path / "config.json").is_file():
        raise TrainerError(
            f"{path} holds an adapter and no model: name its base model in model.name_or_path and this folder in "
            "model.adapter; an adapter that a run trained is merged by fdiv-gym models merge RUN"
        )
    if (path / PREFERENCE_MODEL).is_file():  # with tied embeddings it would load as one that writes nonsense
        raise TrainerError(
            f"{path} holds a preference model ({PREFERENCE_MODEL}) and no language model: name the model that it was "
            'trained from; the folder is what the option model of the judge "gpm" takes'
        )
    if not (path / "config.json").is_file():
        raise TrainerError(f"model folder {path} has no config.json: it is not a transformers model")
    refuse_pickles(path)
    if not [*path.glob("*.safetensors")]:
        raise TrainerError(f"model folder {path} has no weights (*.safetensors)")


def model_source(model: ModelConfig, demonstrations: Demonstrations | None, progress: Progress | None = None) -> str:
    """The source of the initial model: a folder, that of an embedded, added or converted model too, or a hub id.

    Raises:
        ConfigError: the embedded model is configured without demonstrations for its warm start, or a local folder with
            a revision.
        TrainerError: a known model was not added yet, an added one is damaged, or a GGUF file cannot be converted.
    """
    if model.name_or_path != "embedded":
        source = resolve(model.name_or_path)
        if model.revision is not None and Path(source).is_dir():
            raise ConfigError(
                f"model.revision = {model.revision!r} chooses a version of a model of the hub, and "
                f"{model.name_or_path!r} is the local folder {source}: remove it"
            )
        if model.gguf_file is not None:
            return str(folder_of_gguf(source, model.gguf_file))
        refuse_damaged(source)
        return source
    if demonstrations is None:
        raise ConfigError(
            "the embedded model needs an environment for its warm start: name one, or set model.name_or_path"
        )
    return str(embedded_model_folder(model.embedded, demonstrations, progress))


def weights_hash(model: Any) -> str:
    """SHA-256 (first 16 hex digits) of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
