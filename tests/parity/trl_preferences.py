"""TRL's own loss code on preference rows: its trainers' methods, called on a stand-in for the trainer.

Nothing of a loss is written here. A stand-in holds the attributes that the method reads; the model is replaced by
one that returns given log-probs (or, where the trainer takes logits, logits whose log-softmax they are), with
gradient. Rows are ordered chosen, rejected, chosen, ...; the prompt is one token, so that position t of a
response is column t of the log-probs.
"""

import functools
import os
import warnings
from collections import defaultdict
from types import SimpleNamespace

import torch

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of trl's and its dependencies' imports
    from trl.experimental.cpo.cpo_trainer import CPOTrainer
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.kto_trainer import KTOTrainer


def one_process():
    """The parts of an Accelerator that a loss reads."""
    return SimpleNamespace(device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x)


def stand_in(**attributes):
    return SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=one_process(),
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        **attributes,
    )


def scores(logps, mask):
    """A forward pass with the fused head: log-probs are 0 outside the labels; the other fields are only logged."""
    zero = torch.zeros_like(logps.detach())
    return SimpleNamespace(
        log_probs=torch.where(mask, logps, 0.0), entropy=zero, mean_logits=zero, is_top1=torch.zeros_like(mask)
    )


def with_prompt(mask):
    """[N, T + 1] int64: the mask with the column of the prompt's token, which is no part of the response."""
    return torch.nn.functional.pad(mask.long(), (1, 0))


def total(values, mask):
    return torch.where(mask, values, 0.0).sum(-1)


def dpo(logps, ref, mask, loss_type, beta=0.1, label_smoothing=0.0):
    """``DPOTrainer._compute_loss``; rows in pairs."""
    order = torch.cat([torch.arange(0, len(mask), 2), torch.arange(1, len(mask), 2)])
    ref_logps = total(ref, mask)
    inputs = {
        "input_ids": torch.ones_like(with_prompt(mask)),
        "attention_mask": torch.ones_like(with_prompt(mask)),
        "completion_mask": with_prompt(mask)[order],
        "ref_chosen_logps": ref_logps[0::2],
        "ref_rejected_logps": ref_logps[1::2],
    }
    trainer = stand_in(
        loss_types=[loss_type],
        loss_weights=[1.0],
        beta=beta,
        label_smoothing=label_smoothing,
        f_divergence_type="reverse_kl",
        ld_alpha=None,
        use_weighting=False,
    )
    return DPOTrainer._compute_loss(trainer, lambda **_: scores(logps[order], mask[order]), inputs, False)


def kto(logps, ref, mask, chosen, loss_type="kto", beta=0.1, desirable=1.0, undesirable=1.0):
    """``KTOTrainer._compute_loss``; the rows from which it estimates z0 are the rows themselves."""
    ids, ref_logps = torch.ones_like(with_prompt(mask)), total(ref, mask)
    inputs = {
        "input_ids": ids,
        "attention_mask": ids,
        "completion_mask": with_prompt(mask),
        "KL_input_ids": ids,
        "KL_attention_mask": ids,
        "KL_completion_mask": with_prompt(mask),
        "label": chosen.long(),
        "ref_logps": ref_logps,
        "ref_KL_logps": ref_logps,
    }
    trainer = stand_in(
        loss_type=loss_type,
        beta=beta,
        desirable_weight=desirable,
        undesirable_weight=undesirable,
        calculate_KL=loss_type == "kto",
    )
    trainer._compute_kl_logps = functools.partial(KTOTrainer._compute_kl_logps, trainer)
    return KTOTrainer._compute_loss(trainer, lambda **_: scores(logps, mask), inputs, False)


def logits_of(logps, mask):
    """[N, T + 1, 2]: logits of which token 0 has the log-prob ``logps``; the last column predicts nothing."""
    inside = torch.where(mask, logps, -1.0)
    pair = torch.stack([inside, torch.log(-torch.expm1(inside))], -1)
    return torch.nn.functional.pad(pair, (0, 0, 0, 1))


def paired_batch(mask):
    """Token 0 is the label of each response token; holes in the mask are neither labels nor attended."""
    attention = torch.nn.functional.pad(mask.long(), (1, 0), value=1)
    labels = torch.where(with_prompt(mask) == 1, 0, -100)
    batch = {}
    for side, first in (("chosen", 0), ("rejected", 1)):
        batch[f"{side}_input_ids"] = torch.zeros_like(attention)[first::2]
        batch[f"{side}_attention_mask"] = attention[first::2]
        batch[f"{side}_labels"] = labels[first::2]
    return batch


def paired(trainer_class, logps, mask, **attributes):
    """``get_batch_loss_metrics`` of the trainers that take logits."""
    order = torch.cat([torch.arange(0, len(mask), 2), torch.arange(1, len(mask), 2)])
    trainer = stand_in(is_encoder_decoder=False, pad_token_id=0, padding_value=0, **attributes)
    for name in ("concatenated_forward", "cpo_loss", "odds_ratio_loss"):
        if hasattr(trainer_class, name):
            setattr(trainer, name, functools.partial(getattr(trainer_class, name), trainer))
    trainer.concatenated_inputs = trainer_class.concatenated_inputs
    trainer.get_batch_logps = trainer_class.get_batch_logps

    def model(*_, **__):
        return SimpleNamespace(logits=logits_of(logps, mask)[order])

    loss, _ = trainer_class.get_batch_loss_metrics(trainer, model, paired_batch(mask))
    return loss


def cpo(logps, mask, loss_type="sigmoid", beta=0.1, cpo_alpha=1.0, simpo_gamma=0.5):
    """``CPOTrainer``: cpo, its hinge, and simpo."""
    return paired(
        CPOTrainer,
        logps,
        mask,
        loss_type=loss_type,
        beta=beta,
        cpo_alpha=cpo_alpha,
        simpo_gamma=simpo_gamma,
        label_smoothing=0.0,
        alpha=0.0,
    )


def orpo(logps, mask, beta=0.1):
    """``ORPOTrainer``."""
    return paired(ORPOTrainer, logps, mask, beta=beta)
