"""The policy: a transformers model, its tokenizer, its frozen reference, and log-probs of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Row:
    """One token sequence with its loss mask, ready for a forward pass.

    Args:
        token_ids: prompt and response.
        loss_mask: True on response tokens; same length.
        old_logps: log-probs at sampling time (0.0 elsewhere), or None for data that was not sampled in this run.
    """

    token_ids: Sequence[int]
    loss_mask: Sequence[bool]
    old_logps: Sequence[float] | None = None


@dataclass(frozen=True)
class Padded:
    """Rows padded on the right: the inputs of a forward pass, and mask and log-prob of each predicted token."""

    ids: Tensor  # [b, T]
    attention: Tensor  # [b, T]
    mask: Tensor  # [b, T-1] bool: the token predicted at this place is a response token
    old_logps: Tensor | None  # [b, T-1]

    def rows(self, index: Tensor) -> Padded:
        """Some rows, of the same width."""
        old = None if self.old_logps is None else self.old_logps[index]
        return Padded(self.ids[index], self.attention[index], self.mask[index], old)


def pad(rows: Sequence[Row], pad_token: int, device: torch.device) -> Padded:
    """Stack rows; position t of mask and log-probs refers to token t + 1."""
    width = max(len(r.token_ids) for r in rows)
    ids = torch.full((len(rows), width), pad_token, dtype=torch.long)
    attention = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    old = torch.zeros((len(rows), width)) if all(r.old_logps is not None for r in rows) else None
    for i, row in enumerate(rows):
        length = len(row.token_ids)
        ids[i, :length] = torch.tensor(list(row.token_ids))
        attention[i, :length] = 1
        mask[i, :length] = torch.tensor(list(row.loss_mask))
        if old is not None and row.old_logps is not None:
            old[i, :length] = torch.tensor(list(row.old_logps))
    return Padded(
        ids.to(device), attention.to(device), mask[:, 1:].to(device), None if old is None else old[:, 1:].to(device)
    )


def token_logits(model: Any, batch: Padded) -> Tensor:
    """Logits [b, T-1, V], before tempering, of the distributions that the tokens of ``batch`` were drawn from."""
    output = model(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False)
    logits: Tensor = output.logits[:, :-1]
    return logits


def token_logps(model: Any, batch: Padded, temperature: float) -> Tensor:
    """Log-probs [b, T-1] in fp32 (or wider) of the tokens of ``batch`` under the tempered policy."""
    logits = token_logits(model, batch)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    logits = logits / temperature
    chosen = logits.gather(-1, batch.ids[:, 1:].unsqueeze(-1)).squeeze(-1)
    logps: Tensor = chosen - torch.logsumexp(logits, dim=-1)
    return logps
