"""The reference: the initial model as a copy, as the policy without its adapter, or as kept log-probs."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from fdiv_gym.models import merged_in_place
from fdiv_gym_accelerate.sharding import load_whole, local, summed_shards
from fdiv_gym_accelerate.streams import StreamBatch

WEIGHTS = "reference.safetensors"
"""In a checkpoint of a run whose reference has moved."""

if TYPE_CHECKING:
    from peft import PeftModel


class Reference(ABC):
    """Where the reference's log-probs come from."""

    tied_text: str
    """What is wrong with what ``tied`` found."""
    any_rows: bool = True
    """Whether it has log-probs of rows that did not exist before step 1."""

    def token_logps(self, stream: StreamBatch, compute: Callable[[Any, StreamBatch], Tensor]) -> Tensor:
        """[N, T-1] log-probs of the rows; ``compute`` takes a module and the rows."""
        with self.model() as module:
            return compute(module, stream)

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
        own = {local(parameter).data_ptr() for parameter in policy.parameters() if local(parameter).numel()}
        return [name for name, parameter in self.module.named_parameters() if local(parameter).data_ptr() in own]


class Moving(Copy):
    """A copy that can take over the policy's weights."""

    moved: bool = False
    """Whether it is no longer the initial model, also where it stays from now on; checkpoints hold it then."""

    def follow(self, policy: Any) -> None:
        """Become the present policy; of sharded models each process takes its own part."""
        self.module.load_state_dict(policy.state_dict())
        self.moved = True

    def save(self, folder: Path, gathered: Mapping[str, Tensor] | None = None) -> None:
        """Write the weights into the folder of a checkpoint.

        Args:
            folder: of the checkpoint.
            gathered: the whole weights of a sharded module.
        """
        from safetensors.torch import save_file

        weights = self.module.state_dict() if gathered is None else gathered
        once = {name for name, _ in [*self.module.named_parameters(), *self.module.named_buffers()]}  # tied ones too
        save_file({name: tensor.contiguous() for name, tensor in weights.items() if name in once}, folder / WEIGHTS)

    def load(self, folder: Path) -> list[str]:
        """Read the weights of a checkpoint; the names that do not fit, as ``load_whole`` returns them."""
        from safetensors.torch import load_file

        self.moved = True
        return load_whole(self.module, load_file(folder / WEIGHTS))


class Offloaded(Moving):
    """A copy in the CPU's memory, moved to the device for its own passes.

    Args:
        module: the initial model, frozen, on the CPU.
        device: where it computes.
    """

    def __init__(self, module: Any, device: torch.device) -> None:
        super().__init__(module)
        self._device = device

    @contextlib.contextmanager
    def model(self) -> Iterator[Any]:
        """The copy, on the device until the context ends."""
        try:
            yield self.module.to(self._device)
        finally:
            self.module.to("cpu")


class Cached(Reference):
    """Log-probs of fixed rows, computed once by the policy before its first update; no second model.

    Rollouts are drawn from a policy that has moved, and are not known before: for them there is no such reference.
    """

    tied_text = ""
    any_rows = False

    def __init__(self) -> None:
        self._logps: dict[tuple[int, ...], Tensor] = {}

    def fill(self, streams: Iterable[StreamBatch], compute: Callable[[StreamBatch], Tensor]) -> int:
        """Compute and keep the log-probs of these rows with the initial weights; the number of rows kept.

        Args:
            streams: all rows that training and evaluation will read.
            compute: [N, T-1] log-probs of a stream under the policy.
        """
        for stream in streams:
            for key, row, mask in zip(_keys(stream), compute(stream), stream.padded.mask, strict=True):
                self._logps[key] = row[mask].clone()
        return len(self._logps)

    def token_logps(self, stream: StreamBatch, compute: Callable[[Any, StreamBatch], Tensor]) -> Tensor:
        """[N, T-1] the kept log-probs, 0 beside the response tokens."""
        result = torch.zeros(stream.padded.mask.shape)
        for i, key in enumerate(_keys(stream)):
            result[i, stream.padded.mask[i]] = self._logps[key]
        return result

    def model(self) -> contextlib.AbstractContextManager[Any]:
        """There is none."""
        raise TypeError("the cached reference has no model")

    def checksum(self) -> float:
        """``checksum`` of the kept log-probs."""
        return checksum(self._logps.values()) if self._logps else 0.0

    def tied(self, policy: Any) -> list[str]:
        """Nothing: the values are not part of any model."""
        return []


def _keys(stream: StreamBatch) -> list[tuple[int, ...]]:
    """The tokens of each row, and where its response begins."""
    padded = stream.padded
    lengths = padded.attention.sum(-1).tolist()
    starts = padded.mask.int().argmax(-1).tolist()
    return [(start, *ids[:length]) for start, ids, length in zip(starts, padded.ids.tolist(), lengths, strict=True)]


class AdapterOff(Reference):
    """The policy with its adapter switched off: exactly the initial model, without a second copy of the weights.

    Args:
        adapter: peft's handle of the policy's adapter.
    """

    tied_text = "layers have their adapter merged into the weights"

    def __init__(self, adapter: PeftModel) -> None:
        self._adapter = adapter
        self._policy: Any = adapter.get_base_model()
        # By name: sharding replaces the parameters.
        self._frozen = {name for name, parameter in self._policy.named_parameters() if not parameter.requires_grad}

    @contextlib.contextmanager
    def model(self) -> Iterator[Any]:
        """The policy, without its adapter until the context ends."""
        with self._adapter.disable_adapter():
            yield self._policy

    def checksum(self) -> float:
        """``checksum`` of the weights that are not trained."""
        return checksum(weight for name, weight in self._policy.named_parameters() if name in self._frozen)

    def tied(self, policy: Any) -> list[str]:
        """Layers whose adapter was merged into the weights: switched off, they are not what they were."""
        return merged_in_place(policy)


@torch.no_grad()
def checksum(parameters: Iterable[Tensor]) -> float:
    """The sum of all weights in fp64: not finite if a weight is not, and another one after almost any change.

    The sums of the tensors are weighted by their place, so that changes of two of them do not cancel. Every process
    must call it if they are sharded.
    """
    tensors = list(parameters)
    parts = torch.stack([local(tensor).sum(dtype=torch.float64) for tensor in tensors])
    sums = summed_shards(parts, sharded=isinstance(tensors[0], DTensor))
    places = torch.arange(1, len(sums) + 1, dtype=torch.float64, device=sums.device)
    return float((sums * places).sum())
