"""Scores of pairs of embeddings, skew-symmetric by construction (arXiv 2410.02197)."""

from __future__ import annotations

import torch
from torch import Tensor


def pair_scores(a: Tensor, b: Tensor) -> Tensor:
    """The score of each 2-d subspace, s_l(a, b) = a_2l b_(2l+1) - a_(2l+1) b_2l.

    Each pair of coordinates is divided by a power of 2 first, so no product overflows or underflows and no rounding is
    added. With the antisymmetrised difference pair_scores(b, a) == -pair_scores(a, b) and pair_scores(a, a) == 0 hold
    exactly for finite embeddings, also where a device fuses a product and a sum. A score beyond the largest number is
    an infinity of the right sign.

    Args:
        a: [..., 2k] embeddings; of other dtypes than fp64 they are computed in fp32.
        b: [..., 2k], broadcast against ``a``.

    Returns:
        [..., k] fp32 or fp64, with gradient.

    Raises:
        ValueError: the last dimensions differ or are odd.
    """
    if a.shape[-1] != b.shape[-1] or a.shape[-1] % 2:
        raise ValueError(f"embeddings need equal, even last dimensions, got {tuple(a.shape)} and {tuple(b.shape)}")
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    (a, a_scale), (b, b_scale) = _unit(a.to(dtype)), _unit(b.to(dtype))
    forward = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    backward = b[..., 0] * a[..., 1] - b[..., 1] * a[..., 0]
    # The smaller scale first: the product then leaves the range only if the score does.
    small, large = torch.minimum(a_scale, b_scale), torch.maximum(a_scale, b_scale)
    return (forward - backward) / 2 * small * large


def preference(eigenvalues: Tensor, scores: Tensor) -> Tensor:
    """s(a > b) = sum_l lambda_l s_l(a, b).

    Args:
        eigenvalues: [..., k], 0 or more.
        scores: [..., k] of ``pair_scores``.

    Returns:
        [...], with gradient.
    """
    return (eigenvalues * scores).sum(-1)


def group_scores(embeddings: Tensor) -> Tensor:
    """The mean score of each response against the others of its group, for each dimension.

    Args:
        embeddings: [G, 2k] of responses to one prompt.

    Returns:
        [G, k]; each column adds up to 0. NaN in a group of one.
    """
    scores = pair_scores(embeddings.unsqueeze(1), embeddings.unsqueeze(0))
    others = len(embeddings) - 1
    return scores.sum(1) / others if others > 0 else torch.full_like(scores[:, 0], torch.nan)


def _unit(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates [..., k, 2] of at most 4 in magnitude, and the powers of 2 [..., k] they were divided by."""
    pairs = embeddings.reshape(*embeddings.shape[:-1], -1, 2)
    _, exponent = torch.frexp(pairs.detach().abs().amax(-1))
    limit = 126 if pairs.dtype == torch.float32 else 1022
    exponent = exponent.clamp(-limit, limit)
    scale = torch.ldexp(torch.ones_like(exponent, dtype=pairs.dtype), exponent)
    return pairs / scale.unsqueeze(-1), scale
