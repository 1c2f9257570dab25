"""The policy: a transformers model, its tokenizer, its frozen reference, and log-probs of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fdiv_gym_accelerate.logprobs import Head


@dataclass(frozen=True)
class Row:
    """The tokens of one response or trajectory with their loss mask.

    Args:
        token_ids: prompt and response; those of a trajectory of several rows one after the other.
        loss_mask: True on response tokens; same length.
        old_logps: log-probs at sampling time (0.0 elsewhere), or None for data that was not sampled in this run.
        starts: place of the first token of each row (``Trajectory.row_starts``).
    """

    token_ids: Sequence[int]
    loss_mask: Sequence[bool]
    old_logps: Sequence[float] | None = None
    starts: Sequence[int] = (0,)


@dataclass(frozen=True)
class Padded:
    """Rows padded on the right: the inputs of a forward pass, and mask and log-prob of each predicted token.

    Where ``segments`` is set, a row holds the rows of a trajectory one after the other: ``separated`` gives the inputs.
    """

    ids: Tensor  # [b, T]
    attention: Tensor  # [b, T]
    mask: Tensor  # [b, T-1] bool: the token predicted at this place is a response token
    old_logps: Tensor | None  # [b, T-1]
    segments: Tensor | None = None  # [b, T] number of the trajectory's row that a token belongs to

    def rows(self, index: Tensor) -> Padded:
        """Some rows, of the same width."""
        old = None if self.old_logps is None else self.old_logps[index]
        segments = None if self.segments is None else self.segments[index]
        return Padded(self.ids[index], self.attention[index], self.mask[index], old, segments)

    def trimmed(self, width: int, device: torch.device) -> Padded:
        """The first ``width`` tokens of every row, on a device."""
        old, segments = self.old_logps, self.segments
        return Padded(
            self.ids[:, :width].to(device),
            self.attention[:, :width].to(device),
            self.mask[:, : width - 1].to(device),
            None if old is None else old[:, : width - 1].to(device),
            None if segments is None else segments[:, :width].to(device),
        )


@dataclass(frozen=True)
class Packed:
    """Packed rows: the inputs of a forward pass, and where each token of the original rows stands in them."""

    ids: Tensor  # [r, W]
    positions: Tensor  # [r, W]
    visible: Tensor  # [r, 1, W, W] bool: whether the token of the third index sees that of the fourth
    row: Tensor  # [b, T]
    column: Tensor  # [b, T]

    def attention(self, implementation: str, dtype: torch.dtype) -> Tensor:
        """The mask as the model's attention takes it: boolean for sdpa, added to the scores for eager."""
        if implementation == "sdpa":
            return self.visible
        hidden = torch.zeros(self.visible.shape, dtype=dtype, device=self.visible.device)
        return hidden.masked_fill_(~self.visible, torch.finfo(dtype).min)


def pad(rows: Sequence[Row], pad_token: int, device: torch.device) -> Padded:
    """Stack rows; position t of mask and log-probs refers to token t + 1."""
    width = max(len(r.token_ids) for r in rows)
    ids = torch.full((len(rows), width), pad_token, dtype=torch.long)
    attention = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    old = torch.zeros((len(rows), width)) if all(r.old_logps is not None for r in rows) else None
    segments = torch.zeros((len(rows), width), dtype=torch.long) if any(len(r.starts) > 1 for r in rows) else None
    for i, row in enumerate(rows):
        length = len(row.token_ids)
        ids[i, :length] = torch.tensor(list(row.token_ids))
        attention[i, :length] = 1
        mask[i, :length] = torch.tensor(list(row.loss_mask))
        if old is not None and row.old_logps is not None:
            old[i, :length] = torch.tensor(list(row.old_logps))
        if segments is not None:
            for start in row.starts[1:]:
                segments[i, start:] += 1
    return Padded(ids, attention, mask[:, 1:], None if old is None else old[:, 1:], segments).trimmed(width, device)


def separated(batch: Padded) -> Padded:
    """Every row of every trajectory as a row of its own, in order, without log-probs.

    The response tokens keep their order: ``values[separated.mask]`` are those of ``batch.mask``.
    """
    if batch.segments is None:
        return batch
    pieces = []
    for ids, attention, mask, segments in zip(
        batch.ids.cpu(), batch.attention.cpu().bool(), batch.mask.cpu(), batch.segments.cpu(), strict=True
    ):
        whole = torch.cat([mask.new_zeros(1), mask])
        for number in range(int(segments[attention].max()) + 1):
            places = attention & (segments == number)
            pieces.append(Row(ids[places].tolist(), whole[places].tolist()))
    return pad(pieces, 0, batch.ids.device)


def token_logits(model: Any, batch: Padded) -> Tensor:
    """Logits [b, T-1, V], before tempering, of the distributions that the tokens of ``batch`` were drawn from."""
    output = model(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False)
    logits: Tensor = output.logits[:, :-1]
    return logits


class TokenScores(NamedTuple):
    """What the policy gives to the tokens of some rows.

    Args:
        logps: [b, T-1] in fp32 (or wider), 0.0 at places that the mask leaves out.
        entropy: sum over the response tokens of the entropies of their distributions, in nats, detached; None where
            the model computes the logits.
    """

    logps: Tensor
    entropy: Tensor | None


def token_scores(
    model: Any, batch: Padded, temperature: float, head: Head | None = None, packed: Packed | None = None
) -> TokenScores:
    """Log-probs of the response tokens of ``batch`` under the tempered policy.

    Args:
        model: a causal language model.
        batch: the rows.
        temperature: of the policy.
        head: of the model; without it the model computes the logits of all tokens.
        packed: the same rows with shared prompts, as the input of the forward pass.
    """
    row, column = batch.mask.nonzero(as_tuple=True)
    targets = batch.ids[:, 1:][batch.mask]
    if packed is None:
        inputs: dict[str, Any] = {"input_ids": batch.ids, "attention_mask": batch.attention}
    else:
        row, column = packed.row[row, column], packed.column[row, column]
        attention = packed.attention(model.config._attn_implementation, floating_dtype(model))
        inputs = {"input_ids": packed.ids, "attention_mask": attention, "position_ids": packed.positions}
    entropy = None
    if head is None:
        if getattr(getattr(model, "config", None), "output_router_logits", False):
            inputs["output_router_logits"] = False  # its loss takes no mask of shared prompts, and is not trained here
        logits = model(**inputs, use_cache=False).logits[row, column]
        logits = (logits if logits.dtype == torch.float64 else logits.float()) / temperature
        chosen = logits.gather(-1, targets[:, None]).squeeze(-1) - torch.logsumexp(logits, dim=-1)
    else:
        hidden = head.decoder(**inputs, use_cache=False).last_hidden_state[row, column]
        chosen, each = head.logps(hidden, targets, temperature)
        entropy = each.sum()
    return TokenScores(chosen.new_zeros(batch.mask.shape).masked_scatter(batch.mask, chosen), entropy)


def token_logps(model: Any, batch: Padded, temperature: float) -> Tensor:
    """``token_scores`` by the plain way: the log-probs [b, T-1]."""
    return token_scores(model, batch, temperature).logps


def floating_dtype(model: Any) -> torch.dtype:
    """Of the activations: that of autocast where it is on, else of the weights."""
    weight = next(model.parameters())
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
