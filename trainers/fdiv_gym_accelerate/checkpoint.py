"""Checkpoints: a usable model folder and the state needed to resume; never written in part."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import fdiv_gym as fg
from fdiv_gym.models import load_adapter, quiet_transformers, save_adapter
from fdiv_gym.runs import RunFolder
from fdiv_gym_accelerate.reference import WEIGHTS, Moving
from fdiv_gym_accelerate.sharding import (
    distributed_like,
    divided_optimizer,
    gathered_optimizer,
    gathered_trained,
    gathered_weights,
    is_sharded,
    load_whole,
)
from fdiv_gym_accelerate.start import Policy

LARGE = 500_000_000
"""Bytes of a checkpoint from which on its size is said, and one is kept by default."""


@dataclass
class Gathered:
    """What a sharded policy's checkpoint holds, in the first process.

    Args:
        weights: all of them, or where an adapter is trained those of the adapter.
        optimizer: its state, as one process would have it.
        reference: the weights of a reference that has moved.
    """

    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    reference: dict[str, torch.Tensor] | None = None


def gathered_state(policy: Policy, optimizer: Any, *, keep: bool) -> Gathered | None:
    """The whole weights and optimizer's state of a sharded policy, None of another; every process must call it.

    Args:
        policy: that is trained.
        optimizer: of its parameters.
        keep: whether this process writes the checkpoint.
    """
    if not is_sharded(policy.model):
        return None
    weights = gathered_weights(policy.model) if policy.adapter is None else gathered_trained(policy.adapter, keep=keep)
    reference = policy.reference
    kept = gathered_weights(reference.module) if isinstance(reference, Moving) and reference.moved else None
    return Gathered(weights, gathered_optimizer(optimizer, keep=keep), kept)


def save_checkpoint(
    run: RunFolder,
    step: int,
    policy: Policy,
    optimizer: Any,
    schedule: Any,
    extra: dict[str, Any],
    *,
    gathered: Gathered | None = None,
) -> Path:
    """Write checkpoint ``step``; its folder gets its name when it is complete.

    ``model/`` is a transformers model, or where an adapter is trained a folder of peft. The reference's weights are
    stored once it has moved. The weights and the optimizer's state of a sharded policy are those that were
    ``gathered``, and the files those of a whole one.

    Raises:
        TrainerError: the disk is full or the folder cannot be written; older checkpoints are untouched.
    """
    with run.new_checkpoint(step) as folder:
        try:
            weights = None if gathered is None else gathered.weights
            with quiet_transformers():
                if policy.adapter is None:
                    policy.model.save_pretrained(folder / "model", state_dict=weights)
                else:
                    save_adapter(policy.adapter, folder / "model", policy.source_hash, weights)
            policy.tokenizer.save_pretrained(folder / "model")
            if isinstance(policy.reference, Moving) and policy.reference.moved:
                policy.reference.save(folder, None if gathered is None else gathered.reference)
            state = {
                "step": step,
                "optimizer": optimizer.state_dict() if gathered is None else gathered.optimizer,
                "schedule": schedule.state_dict(),
                "extra": extra,
            }
            torch.save(state, folder / "state.pt")
        except (RuntimeError, OSError) as error:  # safetensors and torch.save report a full disk as their own errors
            reason = getattr(error, "strerror", None) or str(error).strip().split("\n")[0]
            raise fg.TrainerError(f"cannot write a checkpoint in {run.path}: {reason}") from error
        except Exception as error:
            if type(error).__module__.startswith("safetensors"):
                raise fg.TrainerError(f"cannot write a checkpoint in {run.path}: {error}") from error
            raise
    return run.path / "checkpoints" / f"step-{step:06d}"


def load_checkpoint(folder: Path, policy: Policy, optimizer: Any, schedule: Any) -> tuple[int, dict[str, Any]]:
    """Restore weights, optimizer and schedule; returns the step and the stored ``extra``.

    Raises:
        TrainerError: the checkpoint is damaged, or does not fit the policy.
    """
    try:
        state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:
        raise _damaged(folder, error) from None
    named = folder.name.removeprefix("step-").lstrip("0") or "0"
    if not isinstance(state, dict) or type(state.get("step")) is not int or str(state["step"]) != named:
        found = state.get("step") if isinstance(state, dict) else None
        raise fg.TrainerError(
            f"checkpoint {folder} is not of the step in its name: its state is of step {found!r}; rename or remove it"
        )
    if policy.adapter is None:
        _load_weights(folder, policy.model)
    else:
        load_adapter(policy.adapter, folder / "model", distributed_like)
    if isinstance(policy.reference, Moving) and (folder / WEIGHTS).is_file():
        _load_reference(folder, policy.reference)
    configured = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(divided_optimizer(state["optimizer"], optimizer))
    schedule.load_state_dict(state["schedule"])
    _keep_configured(optimizer, schedule, configured)
    step: int = state["step"]
    return step, dict(state["extra"])


def _load_weights(folder: Path, model: Any) -> None:
    from safetensors.torch import load_file

    try:
        weights: dict[str, torch.Tensor] = {}
        for file in sorted((folder / "model").glob("*.safetensors")):
            weights.update(load_file(file))
    except Exception as error:
        raise _damaged(folder, error) from None
    broken = next((name for name, tensor in weights.items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise fg.TrainerError(
            f"checkpoint {folder}: the weights {broken} are not finite; remove it to resume from an older one"
        )
    _refuse_unfit(folder, load_whole(model, weights))


def _load_reference(folder: Path, reference: Moving) -> None:
    try:
        unfit = reference.load(folder)
    except Exception as error:  # safetensors raises its own class
        raise _damaged(folder, error) from None
    _refuse_unfit(folder, unfit)


def _refuse_unfit(folder: Path, names: Sequence[str]) -> None:
    if names:
        raise fg.TrainerError(f"checkpoint {folder} does not fit the model: {', '.join(names[:3])}")


def _damaged(folder: Path, error: Exception) -> fg.TrainerError:
    return fg.TrainerError(f"checkpoint {folder} is damaged: {error}; remove it to resume from an older one")


def _keep_configured(optimizer: Any, schedule: Any, configured: list[dict[str, Any]]) -> None:
    """Let the configuration decide the options of AdamW and the learning rate, and not the checkpoint.

    They differ after an accepted change only. The learning rate of the next step is that of the schedule with the
    present number of steps, as if the run had had it from the start.
    """
    for group, options in zip(optimizer.param_groups, configured, strict=True):
        group.update(options)
    schedule.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
    rates = [
        base * rate(schedule.last_epoch) for base, rate in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
    ]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates


def room_needed(model: Any, *, moves: bool = False) -> int:
    """Bytes one checkpoint takes: the trained weights and their two moments in AdamW, and a little more.

    Args:
        model: the policy.
        moves: whether the weights of a reference are stored too.
    """
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return int(trained) * (4 if moves else 3) + 10_000_000


def checkpoints_kept(keep: int | None, size: int) -> int:
    """How many checkpoints of ``size`` bytes a run keeps; ``keep`` is the option, None its default."""
    return keep if keep is not None else 1 if size > LARGE else 2


def check_room(
    run: RunFolder, model: Any, keep: int | None, report: Callable[[str], None], *, moves: bool = False
) -> None:
    """Say the size of a checkpoint if it is large, and refuse to start if the disk has no room for one.

    Args:
        run: the run folder.
        model: the policy.
        keep: the option ``keep_checkpoints``.
        report: takes one line.
        moves: see ``room_needed``.

    Raises:
        TrainerError: not enough free disk space.
    """
    free = shutil.disk_usage(run.path).free
    needed = room_needed(model, moves=moves)
    if free < needed:
        raise fg.TrainerError(
            f"{run.path} has {free / 1e6:.0f} MB free, one checkpoint takes about {needed / 1e6:.0f} MB: "
            "choose another --output or make room"
        )
    if needed > LARGE:
        kept = checkpoints_kept(keep, needed)
        what = "weights, reference and optimizer" if moves else "weights and optimizer"
        report(
            f"a checkpoint takes about {needed / 1e9:.1f} GB ({what}); the newest "
            f"{'is' if kept == 1 else f'{kept} are'} kept, and one more while it is written"
        )
