"""An adapter that a run trained, merged into a plain model folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fdiv_gym.errors import ConfigError, TrainerError
from fdiv_gym.evaluation.plan import model_table
from fdiv_gym.evaluation.source import locate
from fdiv_gym.models.adapter_trust import is_adapter
from fdiv_gym.models.config import ModelConfig
from fdiv_gym.registry.options import build_options


def merge_adapter(model: str, output: Path, step: int | None = None, *, trust_remote_code: bool = False) -> Path:
    """Write the base model of a run with the run's adapter merged into it, in fp32, and the tokenizer.

    Args:
        model: a run folder (its newest checkpoint) or a checkpoint.
        output: the new folder.
        step: the step of a checkpoint of the run folder.
        trust_remote_code: whether the base model's own Python code may run, if the run asks for that.

    Returns:
        ``output``.

    Raises:
        ConfigError: ``output`` exists, the checkpoint is no adapter of a run, or the run asks for code that is not
            trusted.
        TrainerError: the base model is not the one of the run, the adapter is refused, or the folder cannot be
            written.
    """
    if os.path.lexists(output):
        raise ConfigError(f"{output} exists: name a new folder; nothing is overwritten")
    run, weights = locate(model, step)
    if run is None or not is_adapter(weights):
        raise ConfigError(f"{weights} is no adapter that a run trained, so there is nothing to merge")
    config = build_options(ModelConfig, model_table(run.config().get("model") or {}, run, weights, step), "[model]")
    if config.trust_remote_code and not trust_remote_code:
        raise ConfigError(
            f"the configuration in {run.path} runs Python code of the model {config.name_or_path!r}: if you trust its "
            "author, repeat this with --trust-remote-code"
        )
    from safetensors import SafetensorError

    from fdiv_gym.models.adapters import initial_model
    from fdiv_gym.models.loading import load_tokenizer, model_source
    from fdiv_gym.models.quiet import quiet_transformers

    source = model_source(config, None)
    merged = initial_model(config, source)
    tokenizer = load_tokenizer(source, config.revision, trust_remote_code=config.trust_remote_code)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)  # with the user's own permissions, unlike that of tempfile
        try:
            with quiet_transformers():
                merged.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            os.rename(temporary, output)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by its own class
        raise TrainerError(f"cannot write the model in {output}: {error}") from None
    return output
