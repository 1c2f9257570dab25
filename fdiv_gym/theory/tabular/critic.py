"""The free critic: one number v(y) for each response, not tied to a policy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fdiv_gym.divergences.base import Divergence


def attained(divergence: Divergence, p: Tensor, q: Tensor, v: Tensor) -> Tensor:
    """E_P[g(v)] - E_Q[f*(g(v))], scalar; terms without mass are omitted, because 0 * inf is NaN."""
    left, right = p > 0, q > 0
    return (p[left] * divergence.positive(v[left])).sum() - (q[right] * divergence.negative(v[right])).sum()


def optimal_critic(divergence: Divergence, p: Tensor, q: Tensor, reach: float = 1000.0) -> Tensor:
    """The critic that maximises ``attained``, found without its closed form.

    Args:
        divergence: with any link.
        p: [n] fp64 probabilities of D+.
        q: [n] fp64 probabilities of D-.
        reach: the bound of a critic that diverges.

    Returns:
        [n] fp64.
    """
    return fitted_critic(
        lambda v: q @ divergence.negative(v) - p @ divergence.positive(v), len(p), reach=reach, rounds=80
    )


def fitted_critic(loss: Callable[[Tensor], Tensor], size: int, *, reach: float = 20.0, rounds: int = 36) -> Tensor:
    """The v [size] that minimises a loss, by bisection on its gradient.

    Args:
        loss: a scalar from v [size] fp64; a sum of terms of one v each, and every term falls, then rises.
        size: the number of responses.
        reach: the bound of a critic that diverges.
        rounds: halvings of the interval from -reach to reach.

    Returns:
        [size] fp64.
    """
    low = torch.full((size,), -reach, dtype=torch.float64)
    high = -low
    for _ in range(rounds):
        v = ((low + high) / 2).requires_grad_(True)
        (slope,) = torch.autograd.grad(loss(v), v)
        low, high = torch.where(slope < 0, v.detach(), low), torch.where(slope < 0, high, v.detach())
    return (low + high) / 2


def descended_critic(loss: Callable[[Tensor], Tensor], size: int, rounds: int = 200) -> Tensor:
    """The v [size] that minimises a smooth convex loss whose terms are coupled, by L-BFGS from 0."""
    v = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [v], max_iter=rounds, tolerance_grad=1e-13, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(v)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return v.detach()
