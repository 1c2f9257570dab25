"""Weights divided among the processes by torch's ``fully_shard``: gathered layer by layer, or as a whole to sample."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

import fdiv_gym as fg
from fdiv_gym_accelerate.logprobs import Head
from fdiv_gym_accelerate.policy import Packed, Padded, TokenScores, token_scores
from fdiv_gym_accelerate.settings import TrainerOptions

ROOT = "_sharded_root"


class _Root(nn.Module):
    """Computes log-probs inside one forward pass, so that the embeddings and the head are gathered for all of it.

    Args:
        model: a causal language model of transformers, its layers already sharded.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.users = 0

    def forward(
        self, batch: Padded, temperature: float, head: Head | None = None, packed: Packed | None = None
    ) -> TokenScores:
        """See ``token_scores``."""
        return token_scores(self.model, batch, temperature, head, packed)


def shard(model: Any, accelerator: Accelerator) -> None:
    """Divide the parameters of a model among all processes, in place; every process must call it with equal weights.

    Each decoder layer is gathered for its own forward and backward pass, everything else for the whole of them.
    Gradients are plain sums over the processes.

    Raises:
        ConfigError: the model does not say which of its modules are layers, or torch is too old.
    """
    if not hasattr(FSDPModule, "reset_iter_state"):
        raise fg.ConfigError(f'trainer.sharding = "fully_shard" needs torch 2.13, and this is {torch.__version__}')
    names = set(getattr(model, "_no_split_modules", None) or ())
    layers = [module for module in model.modules() if type(module).__name__ in names]
    if not layers:
        raise fg.ConfigError(
            f'trainer.sharding = "fully_shard": {type(model).__name__} does not name its layers (_no_split_modules), '
            'so nothing smaller than the whole model could be gathered; set "none"'
        )
    device = accelerator.device
    mesh = init_device_mesh(device.type, (accelerator.num_processes,))
    root = _Root(model)
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(root, mesh=mesh, reshard_after_forward=False)
    for module in _units(root):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)
    object.__setattr__(model, ROOT, root)  # not as a submodule: the root contains the model
    # torch takes the first module that computes for the root.
    ids = torch.zeros((1, 2), dtype=torch.long, device=device)
    with torch.no_grad():
        root(Padded(ids, torch.ones_like(ids), torch.ones((1, 1), dtype=torch.bool, device=device), None), 1.0)
    _forget_passes(root)


def _forget_passes(root: Any) -> None:
    """Divide the weights again, and forget the order of the passes without gradient.

    By that order torch chooses which layer a backward pass gathers in advance: after unequal numbers of passes the
    processes would wait for each other without end.
    """
    root.reset_iter_state()


def _units(root: nn.Module) -> list[FSDPModule]:
    """The modules that are gathered together."""
    return [module for module in root.modules() if isinstance(module, FSDPModule)]


def is_sharded(model: Any) -> bool:
    """Whether ``shard`` divided this model."""
    return ROOT in model.__dict__


def is_whole(model: Any) -> bool:
    """Whether every process has all weights at this time."""
    return not is_sharded(model) or model.__dict__[ROOT].users > 0


@contextlib.contextmanager
def whole(*models: Any) -> Iterator[None]:
    """Gather all weights of models until the context ends, to compute without gradient; every process must enter it.

    Inside it processes may make unequal numbers of forward passes. Parameters are plain tensors that must not be
    changed, and ``state_dict`` must not be called, which would release them. For models that are not sharded, and
    inside itself, it does nothing.
    """
    roots = [model.__dict__[ROOT] for model in models if is_sharded(model)]
    try:
        for root in roots:
            root.users += 1
            if root.users == 1:
                root.set_reshard_after_forward(False)
                for unit in _units(root):
                    unit.unshard()
        yield
    finally:
        for root in roots:
            root.users -= 1
            if root.users == 0:
                _forget_passes(root)
                for unit in _units(root):
                    unit.set_reshard_after_forward(unit is not root, recurse=False)


def scores_of(
    model: Any, batch: Padded, temperature: float, head: Head | None = None, packed: Packed | None = None
) -> TokenScores:
    """``token_scores`` of a model that may be sharded; then every process must call it equally often."""
    compute = token_scores if is_whole(model) else _through_root
    return compute(model, batch, temperature, head, packed)


def _through_root(
    model: Any, batch: Padded, temperature: float, head: Head | None, packed: Packed | None
) -> TokenScores:
    scores: TokenScores = model.__dict__[ROOT](batch, temperature, head, packed)
    return scores


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor; the tensor itself if it is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor; every process must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def summed_shards(sums: Tensor, *, sharded: bool) -> Tensor:
    """Sums over the parts of all processes, in place; every process must call it."""
    if sharded:
        torch.distributed.all_reduce(sums)
    return sums


# ---- checkpoints ----------------------------------------------------------------------------------


def gathered_weights(model: Any) -> dict[str, Tensor]:
    """The whole weights on the CPU of the first process, and nothing elsewhere; every process must call it."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return cast("dict[str, Tensor]", get_model_state_dict(model, options=options))


def gathered_trained(module: Any, *, keep: bool) -> dict[str, Tensor]:
    """The whole trained weights by name, on the CPU; every process must call it.

    Args:
        module: with sharded parameters.
        keep: whether this process needs the result; others gather along and get nothing.
    """
    weights = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            gathered = full(parameter.detach())
            if keep:
                weights[name] = gathered.cpu()
    return weights


def gathered_optimizer(optimizer: torch.optim.Optimizer, *, keep: bool) -> dict[str, Any]:
    """The state of an optimizer as one process would have it; every process must call it.

    Args:
        optimizer: of sharded parameters.
        keep: whether this process needs the result; others gather along and forget it.
    """
    state = optimizer.state_dict()
    for index, values in state["state"].items():
        whole_values = {}
        for key, value in values.items():
            gathered = full(value) if isinstance(value, Tensor) else value
            whole_values[key] = gathered.cpu() if keep and isinstance(gathered, Tensor) else gathered if keep else None
        state["state"][index] = whole_values
    return state


def distributed_like(value: Tensor, parameter: Tensor) -> Tensor:
    """This process's part of a whole tensor that every process has, divided as a parameter is."""
    if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(
        value.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def load_whole(model: Any, weights: Mapping[str, Tensor]) -> list[str]:
    """Load whole weights into a model; one that is sharded takes its part.

    Returns:
        The names that only one of the two has, except those of a weight that has another name too (tied embeddings).
    """
    own, same = model.state_dict(), {name: id(p) for name, p in model.named_parameters(remove_duplicate=False)}
    placed = {name: distributed_like(tensor, own[name]) if name in own else tensor for name, tensor in weights.items()}
    missing, unexpected = model.load_state_dict(placed, strict=False)
    loaded = {same[name] for name in weights if name in same}
    return [*unexpected, *(name for name in missing if same.get(name) not in loaded)]


def divided_optimizer(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of one process's optimizer, divided as the parameters of this one are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    divided = {
        index: {
            key: distributed_like(value, parameters[index]) if isinstance(value, Tensor) else value
            for key, value in values.items()
        }
        for index, values in state["state"].items()
    }
    return state | {"state": divided}


# ---- options --------------------------------------------------------------------------------------


def check_sharded(config: fg.RunConfig, settings: TrainerOptions) -> None:
    """Refuse what was not made to work with sharded weights.

    Raises:
        ConfigError: naming the option and what to set.
    """
    model = config.model
    if settings.sharding == "none":
        return
    refused = {
        f'model.reference = "{model.reference}"': model.reference == "offload",
        # Trained in bf16 beside the adapter's fp32; torch sums the gradients of a layer in one dtype.
        'model.lora.modules_to_save and trainer.precision = "bf16_full"': (
            settings.precision == "bf16_full" and model.lora is not None and bool(model.lora.modules_to_save)
        ),
        f"engine.name = {config.engine.name!r}": config.engine.name != "transformers",
    }
    for what in (what for what, given in refused.items() if given):
        raise fg.ConfigError(
            f'trainer.sharding = "{settings.sharding}" does not work with {what}: remove it, or set sharding = "none"'
        )
