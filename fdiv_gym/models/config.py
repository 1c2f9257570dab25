"""The table ``[model]`` of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pydantic

from fdiv_gym.files import no_path
from fdiv_gym.registry.messages import shorten
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


ModuleName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$")]
"""The name of a module or its end, e.g. ``q_proj`` or ``self_attn.q_proj``; never a regular expression."""


class LoraOptions(Options):
    """The table ``[model.lora]``: train a LoRA adapter, and keep the weights of the model as they are."""

    rank: int = pydantic.Field(16, ge=1)
    """Rank of the update of each weight."""
    alpha: int = pydantic.Field(32, ge=1)
    """The update is scaled by ``alpha / rank``."""
    targets: Literal["all-linear"] | tuple[ModuleName, ...] = "all-linear"
    """The layers that are adapted: ``all-linear`` are those of attention and MLP and not the output layer; else
    names of modules."""
    modules_to_save: tuple[ModuleName, ...] = ()
    """Modules trained as a whole beside the adapter and stored with it, e.g. ``norm``; not tied embeddings."""
    dora: bool = False
    """DoRA: learn the norm of each row of an adapted weight too."""
    rslora: bool = False
    """rsLoRA: scale the update by ``alpha / sqrt(rank)``."""


class ModelConfig(Options):
    """The initial model: the start of the policy, and the reference."""

    name_or_path: str = "embedded"
    """The model: ``embedded``; else a local folder, a name of ``fdiv-gym models``, or a hub id, in that order."""
    gguf_file: str | None = None
    """A GGUF file in the folder ``name_or_path``: it is de-quantised to fp32 once, with its tokenizer, and cached."""
    revision: str | None = None
    """Version of a model of the hub: a branch, a tag or a commit."""
    trust_remote_code: bool = False
    """Run the Python code of the model's author. A run folder that sets it needs ``--trust-remote-code``."""
    chat: Literal["auto", "never"] = "auto"
    """``auto``: the tokenizer's chat template is applied to prompts if it has one."""
    chat_template: str | None = None
    """A file with a chat template (jinja), instead of the tokenizer's own; not for the embedded model."""
    chat_template_options: dict[str, bool | int | float | str] = pydantic.Field(default_factory=dict)
    """Variables of the chat template, e.g. ``{ enable_thinking = false }``."""
    embedded: EmbeddedModelConfig = EmbeddedModelConfig()
    """Architecture and warm start of the embedded model."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "flex_attention"] = "auto"
    """Attention implementation of transformers; ``auto`` is the library's choice for the model."""
    adapter: str | None = None
    """Folder of a LoRA adapter trained on this model; it is merged into the initial weights."""
    lora: LoraOptions | None = None
    """Train an adapter; by default all weights are trained."""
    reference: Literal["auto", "copy", "adapter_off", "offload", "cached"] = "auto"
    """The reference: a second ``copy``; ``offload``, a copy that is on the GPU for its own passes only;
    ``adapter_off``, the policy without its adapter; ``cached``, log-probs of fixed preference data computed before
    step 1. ``auto``: without its adapter where one is trained, else a copy."""
    reference_every: int = pydantic.Field(0, ge=0)
    """Steps after which the reference becomes the present policy, again and again; 0: it stays the initial model."""

    @pydantic.field_validator("name_or_path")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if problem := no_path(name):
            raise ValueError(f"{shorten(name)} names no model: {problem}")
        return name

    @pydantic.model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        if self.adapter is not None and self.lora is not None:
            raise ValueError(
                "adapter is merged into the initial weights, and lora trains a new one on them, which could not be "
                "stored without the first: merge that into a model first (fdiv-gym models merge)"
            )
        if self.chat == "never" and (self.chat_template is not None or self.chat_template_options):
            raise ValueError('chat = "never" uses no chat template: remove chat_template and chat_template_options')
        self._check_embedded_chat()
        self._check_reference()
        if self.revision is not None and self.name_or_path == "embedded":
            raise ValueError("revision chooses a version of a model of the hub, and the model is embedded: remove it")
        if self.gguf_file is not None:
            if self.name_or_path == "embedded":
                raise ValueError("gguf_file needs name_or_path, the folder that holds it")
            if Path(self.gguf_file).name != self.gguf_file or self.gguf_file in ("", ".."):
                raise ValueError(f"gguf_file is the name of a file in the folder, not a path: {self.gguf_file!r}")
        return self

    def _check_embedded_chat(self) -> None:
        given = {"chat_template": self.chat_template is not None, "chat_template_options": self.chat_template_options}
        names = " and ".join(name for name, is_given in given.items() if is_given)
        if names and self.name_or_path == "embedded":
            raise ValueError(
                f"{names} would show the embedded model texts of another form than its warm start, which has no chat "
                "template: remove it, or name another model in name_or_path"
            )

    def _check_reference(self) -> None:
        if self.reference == "adapter_off" and self.lora is None:
            raise ValueError('reference = "adapter_off" needs an adapter: add a table [model.lora]')
        if self.lora is not None and self.reference not in ("auto", "adapter_off"):
            raise ValueError(
                f'reference = "{self.reference}" is a second model, or its values: with [model.lora] the model without '
                "its adapter is the same, exactly; remove it"
            )
        if self.reference_every and (self.lora is not None or self.reference == "cached"):
            what = "[model.lora]" if self.lora is not None else 'reference = "cached"'
            raise ValueError(f"reference_every needs a reference with weights of its own, not {what}")
