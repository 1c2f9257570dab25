"""The six divergences of the f-GRPO paper (arXiv 2602.05946), with the links of f-GAN table 2.

Where the universal link ``g = f' o exp`` differs from f-GAN's it is available too: with it the branches
are ``f'(e^v)`` and ``e^v f'(e^v) - f(e^v)`` and the optimal critic is the log density ratio.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from fdiv_gym.divergences.base import Divergence, Link

LOG2 = math.log(2.0)


class KL(Divergence):
    """Kullback-Leibler: f(t) = t log t, f*(s) = exp(s - 1), f'(inf) = inf.

    With f-GAN's link g(v) = v the branches have the slopes 1 (positive) and 1/e (negative) at the reference
    policy. With the calibrated link g(v) = v + 1, which is also the universal one, both slopes are 1.
    """

    slope_at_infinity = math.inf

    def generator(self, t: Tensor) -> Tensor:
        """``t log t``; 0 at 0."""
        return torch.xlogy(t, t)

    def conjugate(self, s: Tensor) -> Tensor:
        """exp(s - 1)."""
        return torch.exp(s - 1)

    def links(self) -> dict[str, Link]:
        """``fgan``, and ``calibrated`` = ``universal``."""
        shifted = Link(lambda v: v + 1, torch.exp, torch.log, exponent=1)
        return {
            "fgan": Link(lambda v: v, lambda v: torch.exp(v - 1), lambda r: 1 + torch.log(r), exponent=1),
            "calibrated": shifted,
            "universal": shifted,
        }


class ReverseKL(Divergence):
    """Reverse Kullback-Leibler: f(t) = -log t, f*(s) = -1 - log(-s) for s < 0, f'(inf) = 0."""

    slope_at_infinity = 0.0

    def generator(self, t: Tensor) -> Tensor:
        """-log t."""
        return -torch.log(t)

    def conjugate(self, s: Tensor) -> Tensor:
        """-1 - log(-s), infinite for s >= 0."""
        inside = s < 0
        return torch.where(inside, -1 - torch.log(torch.where(inside, -s, 1.0)), math.inf)

    def links(self) -> dict[str, Link]:
        """f-GAN's link is calibrated and universal."""
        link = Link(lambda v: -torch.exp(-v), lambda v: v - 1, torch.log, exponent=1)
        return {"fgan": link, "calibrated": link, "universal": link}


class Pearson(Divergence):
    """Pearson chi-square: f(t) = (t - 1)^2, f*(s) = s + s^2/4, f'(inf) = inf.

    The quadratic conjugate is that of f on all of R. On t >= 0 the exact one is -1 below s = -2; the
    paper's form grows again there, which limits the decrease of very unlikely responses.
    """

    class Options(Divergence.Options):
        """Options of pearson."""

        conjugate: Literal["paper", "exact"] = "paper"
        """``paper``: s + s^2/4 everywhere; ``exact``: -1 for s < -2."""

    slope_at_infinity = math.inf

    def generator(self, t: Tensor) -> Tensor:
        """(t - 1)^2."""
        return (t - 1) ** 2

    def conjugate(self, s: Tensor) -> Tensor:
        """``s + s^2/4``, or its exact form on t >= 0."""
        if self.options.conjugate == "exact":
            s = s.clamp(min=-2.0)
        return s * (1 + s / 4)

    def links(self) -> dict[str, Link]:
        """``fgan`` = ``calibrated`` (g(v) = v) and ``universal`` (g(v) = 2(e^v - 1))."""
        exact = self.options.conjugate == "exact"
        fgan = Link(
            lambda v: v,
            self.conjugate,
            lambda r: 2 * (r - 1),
            negative_from=-math.inf if exact else -2.0,
        )
        universal = Link(lambda v: 2 * torch.expm1(v), lambda v: torch.expm1(2 * v), torch.log, exponent=2)
        return {"fgan": fgan, "calibrated": fgan, "universal": universal}


class Hellinger(Divergence):
    """Squared Hellinger: f(t) = (sqrt t - 1)^2, f*(s) = s/(1 - s) for s < 1, f'(inf) = 1; maximum 2."""

    slope_at_infinity = 1.0

    def generator(self, t: Tensor) -> Tensor:
        """(sqrt t - 1)^2."""
        return (torch.sqrt(t) - 1) ** 2

    def conjugate(self, s: Tensor) -> Tensor:
        """s/(1 - s), infinite for s >= 1."""
        inside = s < 1
        safe = torch.where(inside, s, 0.0)
        return torch.where(inside, safe / (1 - safe), math.inf)

    def links(self) -> dict[str, Link]:
        """``fgan`` = ``calibrated`` (1 - e^-v) and ``universal`` (1 - e^(-v/2))."""
        fgan = Link(lambda v: -torch.expm1(-v), torch.expm1, lambda r: torch.log(r) / 2, exponent=1)
        universal = Link(lambda v: -torch.expm1(-v / 2), lambda v: torch.expm1(v / 2), torch.log, exponent=0.5)
        return {"fgan": fgan, "calibrated": fgan, "universal": universal}


class JensenShannon(Divergence):
    """Jensen-Shannon: f(t) = t log t - (t + 1) log((t + 1)/2), f*(s) = -log(2 - e^s), f'(inf) = log 2.

    With this generator it is twice the Jensen-Shannon divergence: its maximum is 2 log 2.
    """

    slope_at_infinity = LOG2

    def generator(self, t: Tensor) -> Tensor:
        """``t log t - (t + 1) log((t + 1)/2)``."""
        return torch.xlogy(t, t) - (t + 1) * torch.log((t + 1) / 2)

    def conjugate(self, s: Tensor) -> Tensor:
        """-log(2 - e^s), infinite for s >= log 2."""
        inside = s < LOG2
        return torch.where(inside, -torch.log(2 - torch.exp(torch.where(inside, s, 0.0))), math.inf)

    def links(self) -> dict[str, Link]:
        """f-GAN's link is calibrated and universal."""
        link = Link(_js_positive, lambda v: -_js_positive(-v), torch.log)
        return {"fgan": link, "calibrated": link, "universal": link}


def _js_positive(v: Tensor) -> Tensor:
    """``log 2 + logsigmoid(v)``; near 0, where the two terms cancel, -log1p(expm1(-v)/2)."""
    near = -torch.log1p(torch.expm1(-v.clamp(-1, 1)) / 2)
    far = LOG2 + v.clamp(max=0) - torch.log1p(torch.exp(-v.abs()))
    return torch.where(v.abs() < 1, near, far)


class TotalVariation(Divergence):
    """Total variation: f(t) = |t - 1|/2, f*(s) = max(s, -1/2) for s <= 1/2, f'(inf) = 1/2; maximum 1.

    f is not strictly convex: there is no universal link, and the optimal critic is infinite.
    """

    slope_at_infinity = 0.5

    def generator(self, t: Tensor) -> Tensor:
        """|t - 1|/2."""
        return (t - 1).abs() / 2

    def conjugate(self, s: Tensor) -> Tensor:
        """max(s, -1/2), infinite for s > 1/2."""
        return torch.where(s <= 0.5, s.clamp(min=-0.5), math.inf)

    def slope(self, log_ratio: Tensor) -> Tensor:
        """1/2 above ratio 1, -1/2 below; 0, the middle of the subdifferential, at 1."""
        w = log_ratio.detach().double()
        return torch.where(w.isnan(), w, w.sign() / 2)

    def links(self) -> dict[str, Link]:
        """f-GAN's link is calibrated."""

        def half_tanh(v: Tensor) -> Tensor:
            return torch.tanh(v) / 2

        def critic(ratio: Tensor) -> Tensor:
            sign = torch.log(ratio).sign()
            return torch.where(sign == 0, 0.0, sign * math.inf)  # at ratio 1 every v is optimal

        link = Link(half_tanh, half_tanh, critic)
        return {"fgan": link, "calibrated": link}
