"""The general preference model: an embedding of each response, eigenvalues of each prompt.

A response has an embedding e in R^2k, read from its last token; a prompt has eigenvalues lambda_1 .. lambda_k >= 0,
read from its last token. The score s(a > b) = sum_l lambda_l (a_2l b_(2l+1) - a_(2l+1) b_2l) is skew-symmetric, and
P(a > b) = sigmoid(s / tau). Source: arXiv 2410.02197 and its release, general-preference/general-preference-model.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, Self

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.models import quiet_transformers, sealed
from fdiv_gym_gprl.folder import Found, read_folder, released_form, write_folder
from fdiv_gym_gprl.scores import pair_scores, preference

Eigenvalues = Literal["scaled", "softmax", "one"]


class GPMConfig(fg.Options):
    """What determines a preference model beside its weights."""

    base: str
    """The name of the backbone, for the record."""
    dimensions: int = pydantic.Field(3, ge=1)
    """k, the number of 2-d subspaces; the embedding has 2k coordinates."""
    eigenvalues: Eigenvalues = "scaled"
    """From the output z of the prompt head: ``scaled`` k softmax(z / sqrt(h)) as the training release, ``softmax``
    softmax(z) as the inference release; ``one``: all 1, without a prompt head. h is the backbone's width."""
    normalise: bool = False
    """Whether the embedding is divided by its L2 norm, as in the inference release and not in the training release."""
    pinned: bool = False
    """Bradley-Terry: k = 1, the second coordinate and the eigenvalue are 1, so that s(a > b) = u_a - u_b."""
    tau: float = pydantic.Field(0.1, gt=0)
    """The temperature of P(a > b) = sigmoid(s / tau)."""

    @pydantic.model_validator(mode="after")
    def _fits(self) -> GPMConfig:
        if self.pinned and self.dimensions != 1:
            raise ValueError(f"pinned is the Bradley-Terry model, which has one dimension: set dimensions = 1, not "
                             f"{self.dimensions}, or remove pinned")  # fmt: skip
        if self.pinned and self.normalise:
            raise ValueError("normalise would divide the pinned coordinate too: remove normalise, or pinned")
        return self

    @property
    def has_prompt_head(self) -> bool:
        """Whether the eigenvalues depend on the prompt."""
        return self.eigenvalues != "one" and not self.pinned


class GeneralPreferenceModel(torch.nn.Module):
    """A backbone with a value head (2k outputs, or 1 if pinned) and a prompt head (k outputs), both without bias.

    The heads are fp32 and are computed in fp32, whatever the dtype of the backbone. Their weights are first drawn from
    a normal distribution with standard deviation 1 / (h + 1).

    Args:
        config: dimensions and form.
        backbone: a transformers model without a head (``AutoModel``), of any dtype.
        seed: of the initial weights of the heads.
    """

    def __init__(self, config: GPMConfig, backbone: torch.nn.Module, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.width = width_of(backbone)
        generator = torch.Generator().manual_seed(seed)
        shapes = _head_shapes(config, self.width)
        self.value_head = _head(shapes["value_head"], generator)
        self.prompt_head = _head(shapes["prompt_head"], generator) if config.has_prompt_head else None

    def encode(self, ids: Tensor, mask: Tensor, prompt_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and eigenvalues of prompts with a response each.

        Args:
            ids: [B, T] integer tokens of prompt and response, padded on the right.
            mask: [B, T] integer or bool, 1 on tokens and 0 on padding.
            prompt_lengths: [B] integer numbers of tokens of the prompts, at least 1 and at most the row's length.

        Returns:
            [B, 2k] embeddings and [B, k] eigenvalues, fp32, with gradient.

        Raises:
            ValueError: a shape is wrong, a row is padded on the left or empty, or a prompt is longer than its row.
        """
        lengths = _checked(ids, mask, prompt_lengths)
        output = self.backbone(input_ids=ids, attention_mask=mask.long())
        hidden = output.last_hidden_state
        rows = torch.arange(len(ids), device=hidden.device)
        with torch.autocast(hidden.device.type, enabled=False):
            last = hidden[rows, lengths - 1].float()
            prompt = hidden[rows, prompt_lengths - 1].float()
            return self.embeddings(last), self.eigenvalues(prompt)

    def embeddings(self, hidden: Tensor) -> Tensor:
        """[B, 2k] fp32 from the hidden states [B, h] fp32 of the last tokens."""
        values: Tensor = self.value_head(hidden)
        if self.config.pinned:
            return torch.cat([values, torch.ones_like(values)], dim=-1)
        return torch.nn.functional.normalize(values, dim=-1) if self.config.normalise else values

    def eigenvalues(self, hidden: Tensor) -> Tensor:
        """[B, k] fp32 from the hidden states [B, h] fp32 of the prompts' last tokens."""
        count = self.config.dimensions
        if self.prompt_head is None:
            return hidden.new_ones(len(hidden), count)
        output: Tensor = self.prompt_head(hidden)
        if self.config.eigenvalues == "scaled":
            return count * torch.softmax(output / math.sqrt(self.width), dim=-1)
        return torch.softmax(output, dim=-1)

    def scores(self, a: Tensor, b: Tensor, eigenvalues: Tensor) -> Tensor:
        """[B] s(a > b) of embeddings [B, 2k] under eigenvalues [B, k]."""
        return preference(eigenvalues, pair_scores(a, b))

    def probability(self, scores: Tensor) -> Tensor:
        """P(a > b) = sigmoid(s / tau)."""
        return torch.sigmoid(scores / self.config.tau)

    def save(self, folder: Path, tokenizer: Any = None, *, backbone: dict[str, Tensor] | None = None) -> None:
        """Write a folder that ``load`` reads: weights in safetensors, ``config.json`` of the backbone, ``gpm.json``.

        The names of the weights are those of the released checkpoints. The folder is sealed and complete, or absent.

        Args:
            folder: must not exist.
            tokenizer: is written too, if given.
            backbone: the backbone's weights by its own names where they differ from those present, e.g. merged ones.

        Raises:
            TrainerError: the folder exists, or cannot be written.
        """
        heads = {"value_head.weight": self.value_head.weight}
        if self.prompt_head is not None:
            heads["prompt_head.weight"] = self.prompt_head.weight
        if folder.exists():
            raise fg.TrainerError(f"cannot write a preference model to {folder}: it exists; name a new folder")
        try:
            with sealed(folder) as temporary, quiet_transformers():
                write_folder(temporary, self.config.model_dump(mode="json"), self.backbone, heads, backbone)
                if tokenizer is not None:
                    tokenizer.save_pretrained(temporary)
        except (OSError, RuntimeError) as error:
            raise fg.TrainerError(f"cannot write a preference model to {folder}: {error}") from None

    @classmethod
    def load(
        cls, path: str | Path, *, dtype: torch.dtype = torch.float32, eigenvalues: Eigenvalues | None = None,
        normalise: bool | None = None, tau: float | None = None,
    ) -> Self:  # fmt: skip
        """A model from a folder that ``save`` wrote, or from a checkpoint of general-preference-model.

        A released checkpoint has ``value_head.weight`` and mostly ``prompt_head.weight`` among the weights of a causal
        language model, and nothing that says how it was trained: ``eigenvalues`` and ``normalise`` are then by default
        those of the inference release, ``softmax`` and true. A value head with one output is a Bradley-Terry model.

        Args:
            path: a local folder.
            dtype: of the backbone.
            eigenvalues: of a released checkpoint.
            normalise: of a released checkpoint.
            tau: of a released checkpoint; 0.1 by default.

        Raises:
            TrainerError: no such folder, damaged or incomplete files, weights that are no safetensors, not finite or of
                another shape than the configuration says, or a backbone that needs code of its own.
            ConfigError: an option is given that the folder's ``gpm.json`` holds, or one does not fit the weights.
        """
        found = read_folder(Path(path), dtype)
        given = {"eigenvalues": eigenvalues, "normalise": normalise, "tau": tau}
        config = _config_of(found, {name: value for name, value in given.items() if value is not None}, Path(path))
        _refuse_unfit(config, width_of(found.backbone), found.heads, Path(path))  # before memory is taken for the heads
        model = cls(config, found.backbone)
        for name, head in (("value_head", model.value_head), ("prompt_head", model.prompt_head)):
            if head is not None:
                head.weight.data.copy_(found.heads[f"{name}.weight"])
        return model


def width_of(backbone: Any) -> int:
    """h, the size of the backbone's hidden states."""
    return int(backbone.config.get_text_config().hidden_size)


def _head_shapes(config: GPMConfig, width: int) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of the heads that a model of this configuration has."""
    shapes = {"value_head": (1 if config.pinned else 2 * config.dimensions, width)}
    return shapes | {"prompt_head": (config.dimensions, width)} if config.has_prompt_head else shapes


def _head(shape: tuple[int, int], generator: torch.Generator) -> torch.nn.Linear:
    outputs, width = shape
    head = torch.nn.Linear(width, outputs, bias=False, dtype=torch.float32)
    head.weight.data.normal_(0.0, 1 / (width + 1), generator=generator)
    return head


def _refuse_unfit(config: GPMConfig, width: int, heads: dict[str, Tensor], path: Path) -> None:
    shapes = _head_shapes(config, width)
    for name in ("value_head", "prompt_head"):
        weight, wanted = heads.get(f"{name}.weight"), shapes.get(name)
        shape = None if weight is None else tuple(weight.shape)
        if shape != wanted:
            raise fg.TrainerError(
                f"preference model {path}: {name}.weight has the shape {shape}, and the configuration asks for "
                f"{wanted} (None: no such weight)"
            )


def _checked(ids: Tensor, mask: Tensor, prompt_lengths: Tensor) -> Tensor:
    """[B] lengths of the rows; see ``GeneralPreferenceModel.encode``."""
    if ids.ndim != 2 or mask.shape != ids.shape or prompt_lengths.shape != ids.shape[:1]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (ids, mask, prompt_lengths))
        raise ValueError(f"ids [B, T], mask [B, T] and prompt_lengths [B] are expected, got {shapes}")
    lengths = (mask != 0).sum(-1)
    places = torch.arange(ids.shape[1], device=ids.device)
    if bool(((mask != 0) != (places < lengths.unsqueeze(-1))).any()):
        raise ValueError("mask has padding before or between tokens: pad on the right")
    if bool(((prompt_lengths < 1) | (prompt_lengths > lengths)).any()):
        raise ValueError(
            "a prompt has no token, or more than its row: prompt_lengths must lie in 1 .. the row's length"
        )
    return lengths


def _config_of(found: Found, given: dict[str, Any], path: Path) -> GPMConfig:
    """The configuration of a folder: that of its ``gpm.json``, or of a released checkpoint."""
    if found.record is not None:
        if given:
            raise fg.ConfigError(
                f"preference model {path}: {', '.join(given)} is set by its gpm.json: remove the option"
            )
        values = found.record
    else:
        values = {"base": path.name, **released_form(found.heads), **given}
    try:
        return GPMConfig(**values)
    except pydantic.ValidationError as error:
        reason = error.errors()[0]
        text = f"preference model {path}: {'.'.join(map(str, reason['loc']))} {reason['msg']}"
        raise (fg.ConfigError if given else fg.TrainerError)(text) from None
