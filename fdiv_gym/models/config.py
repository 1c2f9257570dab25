"""The table ``[model]`` of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic

from fdiv_gym.registry.options import Options


class EmbeddedModelConfig(Options):
    """The small model that is built when ``model.name_or_path`` is ``embedded``."""

    layers: int = pydantic.Field(4, ge=1, le=48)
    """Transformer layers."""
    heads: int = pydantic.Field(3, ge=1, le=64)
    """Attention heads; the hidden size is ``heads * head_dim``."""
    head_dim: Literal[32, 64] = 32
    """Width of one attention head."""
    context: int = pydantic.Field(256, ge=16)
    """Largest total length of prompt and response, in tokens (characters)."""
    warm_start_steps: int = pydantic.Field(2000, ge=0)
    """Optimizer steps on the environment's imperfect demonstrations."""
    warm_start_batch: int = pydantic.Field(64, ge=1)
    """Demonstrations in each of these steps."""
    warm_start_learning_rate: float = pydantic.Field(2e-3, gt=0)
    """Peak learning rate of these steps."""
    seed: int = 0
    """Seed of the initial weights and of the warm start; the run's seed does not change the model."""


class ModelConfig(Options):
    """The initial model: the start of the policy, and the reference."""

    name_or_path: str = "embedded"
    """The model: ``embedded``; else a local folder, a name of ``fdiv-gym models``, or a hub id, looked up in that order."""
    gguf_file: str | None = None
    """A GGUF file in the folder ``name_or_path``: it is de-quantised to fp32 once, with its tokenizer, and cached."""
    revision: str | None = None
    """Hub revision."""
    trust_remote_code: bool = False
    """Run the Python code of the model's author. A run folder that sets it needs ``--trust-remote-code``."""
    chat: Literal["auto", "never"] = "auto"
    """``auto``: the tokenizer's chat template is applied to prompts if it has one."""
    embedded: EmbeddedModelConfig = EmbeddedModelConfig()
    """Architecture and warm start of the embedded model."""

    @pydantic.model_validator(mode="after")
    def _gguf_file_is_in_a_folder(self) -> ModelConfig:
        if self.gguf_file is not None:
            if self.name_or_path == "embedded":
                raise ValueError("gguf_file needs name_or_path, the folder that holds it")
            if Path(self.gguf_file).name != self.gguf_file or self.gguf_file in ("", ".."):
                raise ValueError(f"gguf_file is the name of a file in the folder, not a path: {self.gguf_file!r}")
        return self
