"""Non-negative terms whose mean is a divergence, from log density ratios, without overflow or cancellation.

With ``s(u) = f'(e^u) - f'(1)`` and ``m(u) = f*(f'(e^u)) - f*(f'(1))`` integration by parts gives, for w > 0,

    e^-w f(e^w) - f'(1) (1 - e^-w) = int_0^w s(w - x) e^-x dx

and, for w < 0,

    f(e^w) - f'(1) (e^w - 1) = int_0^|w| -m(w + x) e^-x dx.

Neither integrand contains a number that is larger than the result, and both are non-negative because f is convex.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

Elementwise = Callable[[Tensor], Tensor]

NODES = 20
#: Ends of the panels in units of their sum; exp(-64) is below the precision of float64.
PANELS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


def bregman_terms(slope: Elementwise, conjugate: Elementwise, w: Tensor, from_policy: bool) -> Tensor:
    """``f(e^w) - f'(1) (e^w - 1)``, divided by ``e^w`` for samples of the policy.

    Args:
        slope: ``u -> f'(e^u)``, fp64 in and out.
        conjugate: ``u -> f*(f'(e^u)) = e^u f'(e^u) - f(e^u)``, fp64 in and out.
        w: [...] fp64 log-ratios, in nats; may be infinite.
        from_policy: whether to divide by ``e^w``.

    Returns:
        [...] fp64, non-negative; infinite where the value does not fit in float64.
    """
    zero = torch.zeros((), dtype=torch.float64, device=w.device)
    size = w.abs()
    fractions, weights = (values.to(w.device) for values in _quadrature())
    span = size.clamp(max=PANELS[-1]).unsqueeze(-1)
    x = span * fractions
    u = w.unsqueeze(-1) - w.sign().unsqueeze(-1) * x
    rise = torch.where(u > 0, slope(u) - slope(zero), conjugate(zero) - conjugate(u))
    value = span.squeeze(-1) * (weights * torch.exp(-x) * rise.clamp(min=0)).sum(-1)
    scaled = (w < 0) if from_policy else (w > 0)
    root = torch.exp(torch.where(scaled, size, 0.0) / 2)
    return root * value * root  # exp(|w|) alone may overflow where the product does not


@cache
def _quadrature() -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss-Legendre panels on [0, 1], narrow near 0."""
    # The nodes are the eigenvalues of the Jacobi matrix of the Legendre polynomials (Golub and Welsch 1969).
    k = torch.arange(1, NODES, dtype=torch.float64)
    off = k / torch.sqrt(4 * k**2 - 1)
    nodes, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    ends = torch.tensor(PANELS, dtype=torch.float64) / PANELS[-1]
    width = ends.diff().unsqueeze(-1)
    places = ends[:-1].unsqueeze(-1) + width * (nodes + 1) / 2
    return places.flatten(), (width * vectors[0] ** 2).flatten()
