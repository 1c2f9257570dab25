"""Gradient checkpointing: each layer of the policy is computed again in the backward pass instead of being kept."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

import fdiv_gym as fg


def recompute_layers(model: Any) -> int:
    """Compute every layer of a model again in the backward pass; the gradient is the same.

    transformers' own switch works in training mode only, and the trainer computes the policy in evaluation mode,
    without dropout, as it was sampled: there the switch has no effect. So the layers are wrapped here, for every pass
    that has gradients.

    Args:
        model: a transformers model; its layers are changed in place.

    Returns:
        The number of layers.

    Raises:
        ConfigError: transformers marks no layers of this model for it.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise fg.ConfigError(
            f"trainer.gradient_checkpointing: transformers has none for {type(model).__name__}; remove it"
        )
    for layer in layers:
        # A partial of a bound method: a deep copy of the model gets one of its own layer.
        layer.forward = partial(_recomputed, layer.forward)
    return len(layers)


def _recomputed(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    # The layers draw nothing, so no state of a random generator is needed.
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
