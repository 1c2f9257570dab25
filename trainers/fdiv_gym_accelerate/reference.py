"""The reference: the initial model, as a copy or as the policy with its adapter switched off."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from fdiv_gym.models import merged_in_place

if TYPE_CHECKING:
    from peft import PeftModel


class Reference(ABC):
    """Where the reference's log-probs come from."""

    tied_text: str
    """What is wrong with what ``tied`` found."""

    @abstractmethod
    def model(self) -> contextlib.AbstractContextManager[Any]:
        """The module that computes the reference's log-probs, for the time of the context."""

    @abstractmethod
    def checksum(self) -> float:
        """``checksum`` of the reference's weights."""

    @abstractmethod
    def tied(self, policy: Any) -> list[str]:
        """Weights or layers that move with the policy; none if all is well."""


class Copy(Reference):
    """A second model with weights of its own.

    Args:
        module: the initial model, frozen.
    """

    tied_text = "of the reference's weights lie in the policy's memory"

    def __init__(self, module: Any) -> None:
        self.module = module

    @contextlib.contextmanager
    def model(self) -> Iterator[Any]:
        """The copy."""
        yield self.module

    def checksum(self) -> float:
        """``checksum`` of the copy."""
        return checksum(self.module.parameters())

    def tied(self, policy: Any) -> list[str]:
        """Weights of the copy that lie in the policy's memory."""
        own = {parameter.data_ptr() for parameter in policy.parameters()}
        return [name for name, parameter in self.module.named_parameters() if parameter.data_ptr() in own]


class AdapterOff(Reference):
    """The policy with its adapter switched off: exactly the initial model, without a second copy of the weights.

    Args:
        adapter: peft's handle of the policy's adapter.
    """

    tied_text = "layers have their adapter merged into the weights"

    def __init__(self, adapter: PeftModel) -> None:
        self._adapter = adapter
        self._policy: Any = adapter.get_base_model()
        self._frozen = [parameter for parameter in self._policy.parameters() if not parameter.requires_grad]

    @contextlib.contextmanager
    def model(self) -> Iterator[Any]:
        """The policy, without its adapter until the context ends."""
        with self._adapter.disable_adapter():
            yield self._policy

    def checksum(self) -> float:
        """``checksum`` of the weights that are not trained."""
        return checksum(self._frozen)

    def tied(self, policy: Any) -> list[str]:
        """Layers whose adapter was merged into the weights: switched off, they are not what they were."""
        return merged_in_place(policy)


@torch.no_grad()
def checksum(parameters: Iterable[torch.Tensor]) -> float:
    """The sum of all weights in fp64: not finite if a weight is not, and another one after almost any change.

    The sums of the tensors are weighted by their place, so that changes of two of them do not cancel.
    """
    sums = [parameter.sum(dtype=torch.float64) for parameter in parameters]
    places = torch.arange(1, len(sums) + 1, dtype=torch.float64, device=sums[0].device)
    return float((torch.stack(sums) * places).sum())
