"""The options of the trainer ``preference-model``."""

from __future__ import annotations

from typing import Literal

import pydantic

import fdiv_gym as fg
from fdiv_gym_gprl import GPMConfig


class TrainerOptions(fg.Options):
    """Options of the trainer ``preference-model``."""

    dimensions: int = pydantic.Field(3, ge=1)
    """k, the number of 2-d subspaces of the embedding; one of them already holds a cycle."""
    eigenvalues: Literal["scaled", "softmax", "one"] = "scaled"
    """The weights of the dimensions, from the prompt head's output z: ``scaled`` k softmax(z / sqrt(h)), ``softmax``
    softmax(z), ``one`` without a prompt head."""
    normalise: bool = False
    """Divide the embedding by its L2 norm."""
    pinned: bool = False
    """Bradley-Terry: one dimension whose second coordinate is 1, so that the score is a difference of rewards."""
    tau: float = pydantic.Field(0.1, gt=0)
    """Temperature of the probability sigmoid(s / tau) and of the loss -log sigmoid(s / tau)."""
    steps: int = pydantic.Field(300, ge=1)
    """Optimizer steps, each on ``preferences.pairs_per_step`` pairs."""
    learning_rate: float = pydantic.Field(1e-3, gt=0)
    """Peak learning rate of AdamW."""
    weight_decay: float = pydantic.Field(0.0, ge=0)
    """AdamW's weight decay."""
    warmup_steps: int = pydantic.Field(10, ge=0)
    """Steps over which the learning rate rises linearly; then it is constant."""
    max_grad_norm: float = pydantic.Field(1.0, gt=0)
    """Largest gradient norm; larger gradients are scaled down."""
    micro_batch_size: int = pydantic.Field(64, ge=1)
    """Pairs in one forward pass, at most; affects memory use, not results."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """``bf16``: the backbone's passes under autocast, weights in fp32. Scores and losses are fp32 in both."""
    evaluate_every: int = pydantic.Field(50, ge=0)
    """Steps between evaluations on the held-out pairs; 0 evaluates before and after only."""
    checkpoint_every: int = pydantic.Field(100, ge=0)
    """Steps between checkpoints; 0 saves at the end only."""
    keep_checkpoints: int = pydantic.Field(2, ge=1)
    """Number of newest checkpoints to keep."""

    def model_config_of(self, base: str) -> GPMConfig:
        """The configuration of the preference model on a backbone of this name."""
        names = ("dimensions", "eigenvalues", "normalise", "pinned", "tau")
        return GPMConfig(base=base, **{name: getattr(self, name) for name in names})

    @pydantic.model_validator(mode="after")
    def _fits(self) -> TrainerOptions:
        try:
            self.model_config_of("")
        except pydantic.ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return self
