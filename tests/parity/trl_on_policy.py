"""TRL's own loss and advantage code, called with a stand-in for its trainer.

The stand-in has the attributes that the called method reads. Its log-probs come from a tensor instead of a model.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import torch
from trl.experimental.gmpo.gmpo_trainer import GMPOTrainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

TRAINERS = {"gmpo": GMPOTrainer, "rloo": RLOOTrainer}


class Nothing:
    """Accepts every metric and log entry."""

    def __getitem__(self, key):
        return self

    def append(self, item):
        pass

    extend = append


@contextlib.contextmanager
def float64():
    """TRL makes some constants by ``torch.where`` of two floats, in the default precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def one_process():
    """An accelerator of one process."""
    return SimpleNamespace(
        device=torch.device("cpu"),
        num_processes=1,
        process_index=0,
        gather=lambda x: x,
        gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction: x,
        sync_gradients=True,
    )


def loss_of(kind, step, advantages, **options):
    """(value, gradient [N, T]) of TRL's ``_compute_loss`` on the rollouts of a step.

    Args:
        kind: a ``loss_type`` of TRL's GRPO trainer, or ``gmpo`` or ``rloo``.
        step: a step of the conformance kit; its masked positions are no completion tokens.
        advantages: [N] fp64.
        options: attributes of the trainer, or of its ``args``, that differ from those below.
    """
    rows = step.rollouts
    mask = rows.mask.long()
    logps = rows.logps.clone().requires_grad_()
    arguments = {
        "use_bias_correction_kl": False,
        "delta": None,
        "steps_per_generation": 1,
        "sapo_temperature_pos": 1.0,
        "sapo_temperature_neg": 1.05,
    }
    attributes = {
        "loss_type": kind,
        "beta": 0.0,
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "importance_sampling_level": "token",
        "max_completion_length": 512,
        "current_gradient_accumulation_steps": 1,
    }
    arguments.update({k: v for k, v in options.items() if k in arguments})
    attributes.update({k: v for k, v in options.items() if k not in arguments})
    trainer = SimpleNamespace(
        **attributes,
        args=SimpleNamespace(**arguments),
        accelerator=one_process(),
        model=SimpleNamespace(training=True),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        _entropy_bonus_enabled=False,
        _metrics=Nothing(),
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps, torch.zeros_like(logps), None),
    )
    old = torch.where(rows.mask, rows.old_logps, 0.0)
    inputs = {
        "prompt_ids": torch.zeros(len(mask), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(mask), 1, dtype=torch.long),
        "completion_ids": torch.zeros_like(mask),
        "completion_mask": mask,
        "advantages": advantages,
        "old_per_token_logps": rows.old_logps,
        "ref_per_token_logps": rows.ref_logps,
        "old_logps": old.sum(-1),
        "num_items_in_batch": mask.sum(),
    }
    with float64():
        loss = TRAINERS.get(kind, GRPOTrainer)._compute_loss(trainer, None, inputs)
    loss.backward()
    return float(loss.detach()), logps.grad


def advantages_of(trainer_class, rewards, group_size, kl=None, **options):
    """[N] advantages of TRL's ``_generate_and_score_completions``.

    Args:
        trainer_class: GRPOTrainer or RLOOTrainer.
        rewards: [N, K] of K reward functions, NaN where one gives none; groups are contiguous.
        group_size: responses to a prompt.
        kl: [N] log pi_old - log pi_ref of each response, for RLOO with beta.
        options: attributes of the trainer that differ from those below.
    """
    count, functions = rewards.shape
    shifts = torch.zeros(count) if kl is None else kl
    attributes = {
        "beta": 0.0,
        "scale_rewards": "group",
        "multi_objective_aggregation": "sum_then_normalize",
        "reward_weights": torch.ones(functions, dtype=torch.float64),
        "reward_clip_range": None,
        "normalize_advantages": False,
        **options,
    }
    policy, reference = SimpleNamespace(training=True, is_gradient_checkpointing=False), object()

    def log_probs(model, ids, *_, **__):
        completion = torch.zeros(count, 1, dtype=torch.float64)
        return (completion if model is reference else completion + shifts.unsqueeze(-1)), None, None

    def generate(prompts):
        ids = [[0]] * count
        if trainer_class is RLOOTrainer:
            return ids, ids, [""] * count
        return ids, ids, None, [""] * count, None, {}, None, None

    trainer = SimpleNamespace(
        **attributes,
        accelerator=one_process(),
        model=policy,
        ref_model=reference,
        environment_factories=None,
        environments=None,
        tools=None,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        log_multimodal=False,
        mask_truncated_completions=False,
        pad_to_multiple_of=None,
        num_generations=group_size,
        num_iterations=1,
        reward_funcs=[None] * functions,
        reward_func_names=[str(k) for k in range(functions)],
        args=SimpleNamespace(
            per_device_train_batch_size=count,
            gradient_checkpointing_kwargs=None,
            gradient_accumulation_steps=1,
            steps_per_generation=1,
        ),
        _tokenizer=SimpleNamespace(pad_token_id=0),
        _pending_extra_logs={},
        _pending_metrics={},
        _metrics=Nothing(),
        _logs=Nothing(),
        _generate=generate,
        _calculate_rewards=lambda *_: rewards.clone(),
        _get_per_token_logps_and_entropies=log_probs,
    )
    with float64():
        output = trainer_class._generate_and_score_completions(trainer, [{"prompt": ""}] * count)
    return output["advantages"]
