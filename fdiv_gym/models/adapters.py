"""LoRA adapters: added to a model, merged out of place, read from a folder that is not trusted.

An adapted linear layer computes ``W x + s B A x`` with ``s`` = alpha / rank (rsLoRA: alpha / sqrt(rank)); DoRA also
rescales each row of ``W + s B A`` to a learned norm. Sources: https://arxiv.org/abs/2106.09685 (LoRA),
https://arxiv.org/abs/2312.03732 (rsLoRA), https://arxiv.org/abs/2402.09353 (DoRA).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fdiv_gym.errors import ConfigError, MissingExtraError, TrainerError
from fdiv_gym.models.adapter_trust import BASE, WEIGHTS, read_adapter, refuse_other_base
from fdiv_gym.models.config import LoraOptions, ModelConfig
from fdiv_gym.models.loading import load_model, weights_hash

if TYPE_CHECKING:
    from peft import PeftModel

NAME = "default"
"""The adapter's name in peft; a model has one."""


def add_adapter(model: Any, lora: LoraOptions, seed: int, base_name: str | None = None) -> PeftModel:
    """Put a new adapter into a model; at first it changes nothing, as B is zero.

    Args:
        model: a transformers model. Its linear layers are replaced in place by adapted ones that hold the same
            weights, which are frozen.
        lora: rank, layers and variant.
        seed: of A's initial values.
        base_name: the model's name in ``adapter_config.json``.

    Returns:
        peft's handle of the adapter: it switches the adapter off and saves it. ``model`` itself has it too.

    Raises:
        ConfigError: a layer that is named does not exist, or the layer cannot be adapted.
        MissingExtraError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtraError(f"[model.lora] needs peft: pip install 'fdiv-gym[train]' ({error})") from None

    _refuse_embeddings(model, lora)
    _refuse_unknown(model, lora)
    if base_name is not None:
        model.name_or_path = base_name  # peft copies it into adapter_config.json
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
        modules_to_save=list(lora.modules_to_save) or None, use_dora=lora.dora, use_rslora=lora.rslora,
    )  # fmt: skip
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 reads a property that transformers 5.23 renamed
        torch.manual_seed(seed)
        try:
            adapted = get_peft_model(model, config)
        except (ValueError, TypeError, NotImplementedError) as error:
            raise ConfigError(f"[model.lora]: {str(error).strip().splitlines()[0]}") from None
    _refuse_unmergeable(model, lora)
    return adapted


def _refuse_embeddings(model: Any, lora: LoraOptions) -> None:
    """Refuse the output layer, whose weight is read directly, and embeddings that share its weight."""
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    embedded, output = names.get(id(embeddings)), names.get(id(head))
    for name in (*lora.modules_to_save, *(() if isinstance(lora.targets, str) else lora.targets)):
        last = name.rpartition(".")[2]
        if last == output:
            raise ConfigError(f"[model.lora] names {name!r}, the output layer, which cannot be adapted; remove it")
        if last == embedded and getattr(head, "weight", None) is embeddings.weight:
            raise ConfigError(
                f"[model.lora] names {name!r}, whose weight is also that of {output} (tied embeddings): a trained copy "
                "of one would leave the other at its old value; remove it"
            )


def _refuse_unknown(model: Any, lora: LoraOptions) -> None:
    """Refuse a name that no module has, where peft takes the modules that it finds."""
    named = [*lora.modules_to_save, *(() if isinstance(lora.targets, str) else lora.targets)]
    known = [name for name, _ in model.named_modules() if name]
    for wanted in named:
        if not any(name == wanted or name.endswith(f".{wanted}") for name in known):
            own = sorted({name.rpartition(".")[2] for name in known} - {str(i) for i in range(1000)})
            raise ConfigError(f"[model.lora]: the model has no module {wanted!r}; it has {', '.join(own)}")


def _refuse_unmergeable(model: Any, lora: LoraOptions) -> None:
    from transformers.pytorch_utils import Conv1D

    for name, layer in _adapted(model):
        weight = layer.get_base_layer()
        if not isinstance(weight, torch.nn.Linear) and (lora.dora or not isinstance(weight, Conv1D)):
            what = "DoRA" if isinstance(weight, Conv1D) else "LoRA"
            raise ConfigError(f"[model.lora]: {what} is not supported for {name}, a {type(weight).__name__}")


def _adapted(model: Any) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def merged_in_place(model: Any) -> list[str]:
    """The layers whose adapter was merged into the weights: the model without adapter is then not exactly the base."""
    return [name for name, layer in _adapted(model) if layer.merged]


@torch.no_grad()
def merged_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights of the model with its adapter as one plain model, by that model's names.

    Nothing is merged in place: the sum is computed in fp32 into a new tensor, one layer at a time, and has the dtype of
    the base weight.

    Args:
        model: a transformers model that ``add_adapter`` changed; one without adapter gives its own weights.

    Yields:
        Name and tensor, in the order of the model's modules.
    """
    from peft.utils import ModulesToSaveWrapper

    inside: set[str] = set()
    for name, layer in _adapted(model):
        inside.add(name)
        base = layer.get_base_layer()
        yield f"{name}.weight", _merged(layer).to(base.weight.dtype)
        if base.bias is not None:
            yield f"{name}.bias", base.bias.detach()
    for name, module in model.named_modules():
        if isinstance(module, ModulesToSaveWrapper):
            inside.add(name)
            for key, tensor in module.modules_to_save[NAME].state_dict().items():
                yield f"{name}.{key}", tensor.detach()
    for key, tensor in model.state_dict().items():
        if not any(key.startswith(f"{name}.") for name in inside):
            yield key, tensor.detach()


def _merged(layer: Any) -> Tensor:
    """[out, in] fp32 (transposed for Conv1D): W + s B A, with DoRA each row scaled to its magnitude."""
    base = layer.get_base_layer().weight.float()
    change = layer.scaling[NAME] * (layer.lora_B[NAME].weight.float() @ layer.lora_A[NAME].weight.float())
    weight: Tensor = base + (change.T if layer.fan_in_fan_out else change)
    if layer.use_dora.get(NAME, False):
        magnitude = layer.lora_magnitude_vector[NAME].weight.float()
        weight = weight * (magnitude / weight.norm(dim=1)).unsqueeze(1)
    return weight


def initial_model(config: ModelConfig, source: str) -> Any:
    """The initial model in fp32: the weights of ``source``, with the adapter ``model.adapter`` merged into them.

    Args:
        config: the table [model].
        source: what ``model_source`` found for it.

    Raises:
        TrainerError: no such model, or an adapter that does not fit it or is refused.
    """
    model = load_model(source, config.revision, trust_remote_code=config.trust_remote_code, attention=config.attention)
    if config.adapter is None:
        return model
    folder = Path(config.adapter)
    lora, facts = read_adapter(folder)
    refuse_other_base(folder, facts, config.name_or_path, weights_hash(model))
    handle = add_adapter(model, lora, seed=0)
    load_adapter(handle, folder)
    weights = dict(merged_weights(model))
    plain = handle.unload()
    plain.load_state_dict(weights)
    plain.tie_weights()
    if hasattr(plain, "peft_config"):
        del plain.peft_config
    plain.requires_grad_(True)
    return plain


def save_adapter(handle: PeftModel, folder: Path, weights: str, trained: Mapping[str, Tensor] | None = None) -> None:
    """Write a peft folder, and beside its files ``base.json``: name and weights hash of the base model.

    Args:
        handle: of the adapter.
        folder: is made.
        weights: ``weights_hash`` of the base model.
        trained: the trained weights by the handle's names, where the model itself holds a part of them only.
    """
    # Without "False" peft asks the hub whether the vocabulary is the base model's.
    handle.save_pretrained(str(folder), save_embedding_layers=False, state_dict=trained)
    (folder / "README.md").unlink(missing_ok=True)  # a form that peft leaves empty
    base = {"name_or_path": handle.peft_config[NAME].base_model_name_or_path, "weights": weights}
    (folder / BASE).write_text(json.dumps(base, indent=2) + "\n", encoding="utf-8")


def load_adapter(handle: PeftModel, folder: Path, placed: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
    """Read the adapter's weights from ``adapter_model.safetensors``.

    Args:
        handle: of the adapter.
        folder: of peft.
        placed: turns a tensor of the file and the present one into what the model takes, where it holds a part only.

    Raises:
        TrainerError: the file cannot be read, a weight is not finite, or they are not those of this adapter.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        weights = load_file(folder / WEIGHTS)
    except Exception as error:  # safetensors raises its own class
        raise TrainerError(f"adapter {folder}: {WEIGHTS} cannot be read: {error}") from None
    expected = get_peft_model_state_dict(handle, save_embedding_layers=False)
    wrong = sorted(
        {*weights} ^ {*expected}
        | {name for name in {*weights} & {*expected} if weights[name].shape != expected[name].shape}
    )
    if wrong:
        raise TrainerError(f"adapter {folder} does not fit the model: {', '.join(wrong[:3])}")
    broken = next((name for name, tensor in weights.items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise TrainerError(f"adapter {folder}: the weights {broken} are not finite; use an earlier checkpoint")
    if placed is not None:
        weights = {name: placed(tensor, expected[name]) for name, tensor in weights.items()}
    set_peft_model_state_dict(handle, weights)
