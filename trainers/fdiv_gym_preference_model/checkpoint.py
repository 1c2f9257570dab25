"""Checkpoints: a folder of the preference model, and the state needed to resume exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.models import merged_weights
from fdiv_gym.runs import RunFolder
from fdiv_gym_gprl import GeneralPreferenceModel

MODEL = "preference_model"
ADAPTER = "trained.safetensors"
STATE = "state.pt"


@dataclass
class Trained:
    """What a run trains.

    Args:
        model: the preference model; with an adapter, the adapter is in its backbone.
        tokenizer: of the backbone.
        has_adapter: whether an adapter is trained.
        optimizer: of the trained parameters.
        schedule: of the learning rate.
    """

    model: GeneralPreferenceModel
    tokenizer: Any
    has_adapter: bool
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR

    @property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The trained parameters by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}


def save_checkpoint(run: RunFolder, step: int, trained: Trained, seconds: float) -> None:
    """Write checkpoint ``step``; its folder gets its name when it is complete.

    ``preference_model/`` is a whole model, an adapter merged into it. Where an adapter is trained, its own weights and
    those of the heads are stored beside it.

    Raises:
        TrainerError: the disk is full, or the folder cannot be written; older checkpoints are untouched.
    """
    from safetensors.torch import save_file

    with run.new_checkpoint(step) as folder:
        merged = dict(merged_weights(trained.model.backbone)) if trained.has_adapter else None
        trained.model.save(folder / MODEL, trained.tokenizer, backbone=merged)
        try:
            if trained.has_adapter:
                own = {name: p.detach().cpu().contiguous() for name, p in trained.parameters.items()}
                save_file(own, folder / ADAPTER)
            state = {
                "step": step, "seconds": seconds,
                "optimizer": trained.optimizer.state_dict(), "schedule": trained.schedule.state_dict(),
            }  # fmt: skip
            torch.save(state, folder / STATE)
        except Exception as error:  # safetensors and torch.save report a full disk as their own errors
            raise fg.TrainerError(f"cannot write a checkpoint in {run.path}: {error}") from error


def load_checkpoint(folder: Path, trained: Trained) -> tuple[int, float]:
    """Restore weights and the state of optimizer and schedule, not their options; returns step and seconds.

    Raises:
        TrainerError: the checkpoint is damaged, or is not of this model.
    """
    weights = _adapter_weights(folder) if trained.has_adapter else _whole_weights(folder)
    present: dict[str, Tensor] = {**trained.parameters} if trained.has_adapter else trained.model.state_dict()
    unfit = sorted(set(weights) ^ set(present)) or [n for n in weights if weights[n].shape != present[n].shape]
    if unfit:
        raise fg.TrainerError(f"checkpoint {folder} does not fit the model: {', '.join(unfit[:3])}")
    with torch.no_grad():
        for name, tensor in weights.items():
            present[name].copy_(tensor)
    configured = [{key: value for key, value in g.items() if key != "params"} for g in trained.optimizer.param_groups]
    try:
        state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        step, seconds = int(state["step"]), float(state["seconds"])
        trained.optimizer.load_state_dict(state["optimizer"])
        trained.schedule.load_state_dict(state["schedule"])
    except Exception as error:  # a damaged or foreign file raises any class
        raise fg.TrainerError(f"checkpoint {folder}: {STATE} cannot be read: {error}") from None
    if folder.name != f"step-{step:06d}":
        raise fg.TrainerError(f"checkpoint {folder} is of step {step}; rename or remove it")
    _keep_configured(trained, configured)
    return step, seconds


def _keep_configured(trained: Trained, configured: list[dict[str, Any]]) -> None:
    """Let the configuration decide the options of AdamW and the learning rate, and not the checkpoint.

    They differ after an accepted change only.
    """
    schedule = trained.schedule
    schedule.base_lrs = [options["initial_lr"] for options in configured]
    rates = [b * rate(schedule.last_epoch) for b, rate in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)]
    for group, options, rate in zip(trained.optimizer.param_groups, configured, rates, strict=True):
        group.update(options | {"lr": rate})
    schedule._last_lr = rates


def _whole_weights(folder: Path) -> dict[str, Tensor]:
    return GeneralPreferenceModel.load(folder / MODEL).state_dict()


def _adapter_weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(folder / ADAPTER)
    except Exception as error:  # safetensors raises its own class
        raise fg.TrainerError(f"checkpoint {folder}: {ADAPTER} cannot be read: {error}") from None
    broken = next((name for name, tensor in weights.items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise fg.TrainerError(f"checkpoint {folder}: the weights {broken} are not finite; use an older one")
    return weights
