"""The weights that a sync must consist of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.models import merged_weights


def plain_weights(model: Any) -> Iterable[tuple[str, Tensor]]:
    """The weights of a model; those of one with an adapter are merged out of place."""
    if hasattr(model, "peft_config"):
        return merged_weights(model)
    own: Iterable[tuple[str, Tensor]] = model.state_dict().items()
    return own


@dataclass(frozen=True)
class Layout:
    """The names and shapes of a model's weights.

    Args:
        shapes: by name.
        tied: names that share memory with an earlier one, and that one.
    """

    shapes: dict[str, tuple[int, ...]]
    tied: dict[str, str]

    @classmethod
    def of(cls, weights: Iterable[tuple[str, Tensor]]) -> Layout:
        """Of a model's weights."""
        shapes: dict[str, tuple[int, ...]] = {}
        places: dict[tuple[int, tuple[int, ...]], str] = {}
        tied: dict[str, str] = {}
        for name, tensor in weights:
            shapes[name] = tuple(tensor.shape)
            first = places.setdefault((tensor.data_ptr(), shapes[name]), name)
            if first != name:
                tied[name] = first
        return cls(shapes, tied)

    def checked(self, weights: Iterable[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
        """The weights if they are complete and fit, each of several tied ones under its own name.

        vLLM keeps an old output layer where only the embeddings tied to it are renewed.

        Raises:
            EngineError: a name or a shape does not fit, or one is missing.
        """
        given: dict[str, Tensor] = {}
        for name, tensor in weights:
            if name not in self.shapes:
                raise fg.EngineError(f"the model has no weight {name!r}")
            if self.shapes[name] != tuple(tensor.shape):
                raise fg.EngineError(
                    f"weight {name!r} has shape {tuple(tensor.shape)}, the model's is {self.shapes[name]}"
                )
            given[name] = tensor.detach()
        for name, first in self.tied.items():
            if name not in given and first in given:
                given[name] = given[first]
        missing = self.shapes.keys() - given.keys()
        if missing:
            raise fg.EngineError(
                f"{len(missing)} of {len(self.shapes)} weights are missing, e.g. {min(missing)!r}: vLLM takes over "
                "whole models only"
            )
        return list(given.items())
