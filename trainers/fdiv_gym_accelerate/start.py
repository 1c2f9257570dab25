"""Start of a run: accelerate, the policy and its reference."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs

import fdiv_gym as fg
from fdiv_gym.data import PreferenceData, PreferenceDemonstrations
from fdiv_gym.models import (
    ChatEncoder,
    Demonstrations,
    EnvDemonstrations,
    ModelConfig,
    add_adapter,
    initial_model,
    load_tokenizer,
    model_source,
    weights_hash,
)
from fdiv_gym.objectives import Streams
from fdiv_gym.registry import sampling_of
from fdiv_gym.rollouts import derive_seed
from fdiv_gym.runs import RunFolder, Screen, TrackerConfig, check_tracker
from fdiv_gym_accelerate.activations import recompute_layers
from fdiv_gym_accelerate.process_group import close_at_exit
from fdiv_gym_accelerate.reference import AdapterOff, Cached, Copy, Moving, Offloaded, Reference
from fdiv_gym_accelerate.settings import TrainerOptions

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass
class Policy:
    """The model that is trained, its tokenizer and its reference.

    Args:
        model: a transformers model; with an adapter, the adapter is in it.
        tokenizer: of the model.
        reference: the initial model; None if the objective needs none.
        source_hash: of the initial weights, without adapter.
        adapter: peft's handle of the adapter, if one is trained.
    """

    model: Any
    tokenizer: Any
    reference: Reference | None
    source_hash: str
    adapter: PeftModel | None = None

    @property
    def modules(self) -> list[Any]:
        """The policy, and the reference where it is a model of its own."""
        return [self.model, *([self.reference.module] if isinstance(self.reference, Copy) else [])]

    @property
    def trained(self) -> list[torch.nn.Parameter]:
        """The parameters that are trained."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


def start_accelerator(
    precision: str, tracker: TrackerConfig | None, folder: RunFolder, process_deadline_s: float
) -> Accelerator:
    """Device, precision and processes; the tracker is checked.

    Raises:
        ConfigError: no tracker has that name, or a launcher was asked for several processes and started one.
        TrainerError: bf16 is not supported here, torch's default dtype was changed, the tracker's package is missing,
            or the model would be sharded.
    """
    if torch.get_default_dtype() != torch.float32:  # weights, log-probs and masks would be of different types
        raise fg.TrainerError(
            f"torch's default dtype is {torch.get_default_dtype()}: call torch.set_default_dtype(torch.float32) before "
            'training; trainer.precision = "bf16" trains in lower precision'
        )
    if tracker is not None:
        check_tracker(tracker, folder.path)
    # accelerate keeps the precision of the first run in a process; the next run may need another one.
    AcceleratorState._reset_state()
    try:
        accelerator = Accelerator(
            mixed_precision="bf16" if precision == "bf16" else "no",
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=process_deadline_s))],
        )
    except (ValueError, ImportError) as error:
        raise fg.TrainerError(f"accelerate cannot start: {error}") from None
    close_at_exit()
    # ``accelerate launch --cpu`` sets an address for several processes and starts one.
    launched = {"MASTER_ADDR", "ACCELERATE_MIXED_PRECISION"} <= os.environ.keys()
    if launched and accelerator.num_processes == 1 and "WORLD_SIZE" not in os.environ:
        raise fg.ConfigError(
            "accelerate launch --num_processes was asked for several processes and started one, as it does with --cpu: "
            "use ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 -m fdiv_gym ..., or omit --num_processes"
        )
    if accelerator.distributed_type.value not in ("NO", "MULTI_CPU", "MULTI_GPU"):
        raise fg.TrainerError(
            f"the trainer 'accelerate' keeps a whole model on each process; "
            f"{accelerator.distributed_type.value} is not supported"
        )
    return accelerator


def raise_if_a_process_is_lost(error: Exception, process_deadline_s: float) -> None:
    """Turn an error that a broken connection between processes caused into one that says what to do.

    A backward pass of sharded weights communicates, so that the error may come as one of the objective.

    Raises:
        TrainerError: another process of the run ended, or did not answer within the deadline.
    """
    cause: BaseException | None = error
    while cause is not None and not _is_broken_connection(cause):
        cause = cause.__cause__
    if cause is not None and torch.distributed.is_initialized():
        raise fg.TrainerError(
            f"process {torch.distributed.get_rank()}: another process of the run ended, or did not answer within "
            f"{process_deadline_s:g} s (trainer.process_deadline_s): see its error, then resume the run"
        ) from error


def _is_broken_connection(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and (isinstance(error, torch.distributed.DistError) or "gloo" in str(error))


def load_policy(
    config: ModelConfig,
    accelerator: Accelerator,
    screen: Screen,
    demonstrations: Demonstrations | None,
    seed: int,
    settings: TrainerOptions,
    *,
    with_reference: bool,
) -> Policy:
    """Load (or build) the initial model, with a new adapter if the configuration has one, and its reference.

    Raises:
        ConfigError: the adapter does not fit the model.
        MissingExtraError: an adapter is asked for and peft is not installed.
        TrainerError: no such model.
    """
    with accelerator.main_process_first():
        source = model_source(config, demonstrations, screen.warm_start)
    dtype = torch.bfloat16 if settings.precision == "bf16_full" else torch.float32
    model = initial_model(config, source)
    initial_weights, adapter = weights_hash(model), None
    model = model.to(dtype)
    if config.lora is not None:
        adapter = add_adapter(model, config.lora, derive_seed(seed, "adapter"), config.name_or_path)
    if settings.gradient_checkpointing:
        recompute_layers(model)
    model = model.to(accelerator.device)

    def frozen() -> Any:
        return initial_model(config, source).to(dtype).requires_grad_(False).eval()

    reference: Reference | None = None
    if with_reference and adapter is not None:
        reference = AdapterOff(adapter)
    elif with_reference and config.reference == "cached":
        reference = Cached()
    elif with_reference and config.reference == "offload":
        if accelerator.device.type == "cpu":
            screen.message('model.reference = "offload": the device is the CPU, so this is a plain copy')
        reference = Offloaded(frozen(), accelerator.device)
    elif with_reference:
        reference = Moving(frozen().to(accelerator.device))
    tokenizer = load_tokenizer(source, config.revision, trust_remote_code=config.trust_remote_code)
    return Policy(model, tokenizer, reference, initial_weights, adapter)


def check_reference(config: ModelConfig, objective: fg.Objective, steps: int) -> None:
    """Refuse options of the reference that the objective has no use for, that cannot serve it, or without an effect.

    Raises:
        ConfigError: naming the option and what to set.
    """
    chosen = [name for name in ("reference", "reference_every") if getattr(config, name) not in ("auto", 0)]
    if chosen and not objective.needs_reference:
        raise fg.ConfigError(f"model.{chosen[0]} concerns the reference, and this objective reads none: remove it")
    if config.reference_every > steps:
        raise fg.ConfigError(
            f"model.reference_every = {config.reference_every} is more than trainer.steps = {steps}, so the reference "
            "would never move: lower it, or remove it"
        )
    if config.reference == "cached" and "rollouts" in objective.streams:
        raise fg.ConfigError(
            'model.reference = "cached" keeps log-probs of fixed preference data, computed before step 1; rollouts are '
            'drawn later: set "copy" or "offload"'
        )


def demonstrations_of(env: fg.Environment | None, preferences: PreferenceData | None) -> Demonstrations | None:
    """The demonstrations for the embedded model: of the environment, else of the preference data."""
    if env is not None:
        return EnvDemonstrations(env)
    return None if preferences is None else PreferenceDemonstrations(preferences)


def check_counts(config: fg.RunConfig, settings: TrainerOptions, processes: int, streams: Streams) -> None:
    """Refuse a step with fewer rows than processes, or a process with fewer than mini-batches.

    Args:
        config: the whole configuration.
        settings: the trainer's own options.
        processes: their number.
        streams: those that the objective reads.

    Raises:
        ConfigError: too few prompts or preference units in a step.
    """
    counts = {"trainer.prompts_per_step": settings.prompts_per_step} if "rollouts" in streams else {}
    if config.preferences is not None and "preferences" in streams:
        counts["preferences.pairs_per_step"] = config.preferences.pairs_per_step
    for key, count in counts.items():
        if count < processes:
            raise fg.ConfigError(f"{key} = {count} is less than the number of processes, {processes}")
        if count // processes < settings.minibatches:
            raise fg.ConfigError(
                f"{key} = {count} gives {count // processes} to each of {processes} processes, fewer than "
                f"trainer.minibatches = {settings.minibatches}"
            )


def check_updates(objective: fg.Objective, settings: TrainerOptions) -> None:
    """Refuse options on the old policy that the objective has no use for, or that it needs and lacks.

    Raises:
        ConfigError: naming the option and what to set.
    """
    if "rollouts" not in objective.streams:
        given = {
            "dynamic_sampling": settings.dynamic_sampling is not None,
            "reward": settings.reward != "environment",
            "max_kl": settings.max_kl is not None,
            "budget.tokens": settings.budget is not None and settings.budget.tokens is not None,
            "budget.verifications": settings.budget is not None and settings.budget.verifications is not None,
            "old_logps": settings.old_logps == "recomputed",
            "logprob_tolerance": settings.logprob_tolerance is not None,
        }
        for name in (name for name, is_given in given.items() if is_given):
            raise fg.ConfigError(f"trainer.{name} concerns rollouts, and this objective reads none: remove it")
    if objective.needs_recomputed_logps and settings.old_logps != "recomputed":
        raise fg.ConfigError(
            "objective.importance corrects for the updates since the rollout and not for the engine: "
            'set trainer.old_logps = "recomputed"'
        )


def check_sampling(sampling: fg.Sampling, settings: TrainerOptions, streams: Streams) -> None:
    """Refuse to sample from a truncated distribution, which is not the policy, without a correction for it.

    Raises:
        ConfigError: naming the option and what to set.
    """
    if settings.correction != "none" or "rollouts" not in streams:
        return
    given = {"top_p": sampling.top_p < 1, "top_k": sampling.top_k > 0}
    for name in (name for name, is_given in given.items() if is_given):
        raise fg.ConfigError(
            f"engine.{name} = {getattr(sampling, name)}: the responses would come from a truncated distribution, and "
            "the policy in training is the whole one. Remove it (fdiv-gym eval may have it), or correct for it by "
            'trainer.correction = "token" and trainer.old_logps = "recomputed"'
        )


def check_engine(
    ref: fg.PluginRef[fg.Engine],
    engine: fg.Engine,
    env: fg.Environment,
    encoder: ChatEncoder,
    report: Callable[[str], None],
) -> None:
    """Check a few completions of a started engine on prompts of the run, unless the engine is of fdiv-gym.

    Raises:
        PluginError: they break the contract of engines.
    """
    from fdiv_gym.testing import check_started_engine, is_foreign

    if is_foreign(ref):
        prompts = [encoder.prompt(task.messages) for task in env.task_list("train")[:2]]
        check_started_engine(engine, prompts, encoder.tokenizer, sampling_of(engine, 11), report)
