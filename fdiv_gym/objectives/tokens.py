"""Token log-probs of whole responses in ``prepare``: one row for each response, without padding in between."""

from __future__ import annotations

import torch
from torch import Tensor


def compact(values: Tensor, mask: Tensor) -> Tensor:
    """[N, L] fp64: the values of each row's response tokens in order, NaN beyond its last; L is the longest row.

    Args:
        values: [N, T].
        mask: [N, T] bool, True on response tokens.
    """
    position = mask.cumsum(-1) - 1
    longest = int(mask.sum(-1).max()) if mask.numel() else 0
    result = torch.full((mask.shape[0], longest), torch.nan, dtype=torch.float64, device=mask.device)
    row = torch.arange(mask.shape[0], device=mask.device).unsqueeze(-1).expand_as(mask)
    result[row[mask], position[mask]] = values.detach().double()[mask]
    return result


def spread(rows: Tensor, mask: Tensor) -> Tensor:
    """[b, T]: the inverse of ``compact``, the k-th column of ``rows`` at each row's k-th response token, 0 elsewhere.

    Args:
        rows: [b, L], with L at least the number of response tokens of any row.
        mask: [b, T] bool.
    """
    if not rows.shape[1]:
        return torch.zeros_like(mask, dtype=rows.dtype)
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    return torch.where(mask, rows.gather(1, position), torch.zeros((), dtype=rows.dtype, device=rows.device))
