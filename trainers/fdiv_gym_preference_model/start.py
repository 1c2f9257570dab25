"""Start of a run: the backbone with its heads, its optimizer, and the pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import fdiv_gym as fg
from fdiv_gym.data import PreferenceData, PreferenceDemonstrations
from fdiv_gym.models import ModelConfig, add_adapter, initial_model, load_tokenizer, model_source, weights_hash
from fdiv_gym.rollouts import derive_seed
from fdiv_gym_gprl import GeneralPreferenceModel
from fdiv_gym_preference_model.checkpoint import Trained
from fdiv_gym_preference_model.settings import TrainerOptions


def build(
    config: ModelConfig, settings: TrainerOptions, data: PreferenceData, seed: int,
    warm_start: Callable[[int, int, float], None],
) -> tuple[Trained, str]:  # fmt: skip
    """The preference model at its start, and the hash of its initial weights.

    Args:
        config: the table [model]; its causal language model without the output layer is the backbone.
        settings: the trainer's own options.
        data: from which an embedded model is warm started.
        seed: of the run, for the heads and the adapter.
        warm_start: takes the progress of the warm start.

    Raises:
        ConfigError: an option of [model] that concerns a reference, or an adapter that does not fit the model.
        TrainerError: no such model.
    """
    _refuse_reference(config)
    source = model_source(config, PreferenceDemonstrations(data), warm_start)
    causal = initial_model(config, source)
    tokenizer = load_tokenizer(source, config.revision, trust_remote_code=config.trust_remote_code)
    initial = weights_hash(causal)
    if config.lora is not None:
        add_adapter(causal, config.lora, derive_seed(seed, "adapter"), config.name_or_path)
    backbone = causal.base_model
    model = GeneralPreferenceModel(
        settings.model_config_of(config.name_or_path), backbone, seed=derive_seed(seed, "heads")
    )
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    warm = settings.warmup_steps
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / (warm + 1)))
    return Trained(model, tokenizer, config.lora is not None, optimizer, schedule), initial


def context_of(backbone: Any) -> int | None:
    """The longest sequence that a backbone takes, or None."""
    found = getattr(backbone.config.get_text_config(), "max_position_embeddings", None)
    return None if found is None else int(found)


def _refuse_reference(config: ModelConfig) -> None:
    given = [name for name in ("reference", "reference_every") if getattr(config, name) not in ("auto", 0)]
    if given:
        raise fg.ConfigError(f"model.{given[0]} concerns a reference, and a preference model has none: remove it")
