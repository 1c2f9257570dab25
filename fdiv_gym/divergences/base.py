"""Divergence: a convex generator, its conjugate, and links that turn a scalar v into two branches.

``D_f(P||Q) = E_Q[f(dP/dQ)] = sup_T E_P[T] - E_Q[f*(T)]``. With ``T = g(v)`` for a strictly increasing
link ``g`` the two branches are ``positive(v) = g(v)`` for samples of the aligned distribution and
``negative(v) = f*(g(v))`` for samples of the unaligned one (f-GAN, arXiv 1606.00709, table 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from fdiv_gym.divergences.terms import bregman_terms
from fdiv_gym.errors import ConfigError, did_you_mean
from fdiv_gym.registry import options as _options
from fdiv_gym.registry.lookup import Spec, get

Branch = Callable[[Tensor], Tensor]

#: exp(30) is 1e13: far below the overflow of fp32, and far above any useful implicit reward.
GUARD_EXPONENT = 30.0


@dataclass(frozen=True)
class Link:
    """One link of a divergence, as its two branches in numerically stable form.

    Args:
        positive: ``v -> g(v)``, tensors in and out, elementwise.
        negative: ``v -> f*(g(v))``, computed without ``g`` where ``g`` would lose digits.
        critic: ``rho -> g^-1(f'(rho))``, the optimal v at density ratio rho; may be infinite.
        exponent: the largest c such that a branch, or a part of its formula, grows like ``exp(c |v|)``;
            0 if none is exponential. The guard starts at ``30/c``.
        canonical: whether ``g^-1(f'(inf)) = inf``.
        negative_from: the negative branch is non-decreasing for v at or above this.
    """

    positive: Branch
    negative: Branch
    critic: Branch
    exponent: float = 0.0
    canonical: bool = True
    negative_from: float = -math.inf

    @property
    def guard_limit(self) -> float:
        """|v| up to which the guard is the identity; infinite for branches without exponentials."""
        return GUARD_EXPONENT / self.exponent if self.exponent > 0 else math.inf


class Divergence(_options.Configurable):
    """Base of f-divergences.

    A subclass implements ``generator``, ``conjugate`` and ``links`` and sets ``slope_at_infinity``.
    Everything is elementwise on tensors; results are fp32, or fp64 for fp64 input.

    Attributes:
        slope_at_infinity: ``f'(inf) = lim f(t)/t``.
        default_link: the link used unless the option ``link`` names another.
    """

    class Options(_options.Options):
        """Options of every divergence; nest ``class Options(fg.Divergence.Options)`` to add more."""

        link: str = ""
        """The link that turns v into the two branches; empty means the divergence's default."""

    kind: ClassVar[str] = "divergence"
    slope_at_infinity: float
    default_link: ClassVar[str] = "fgan"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._links = dict(self.links())
        self.link_name: str = self.options.link or self.default_link
        if self.link_name not in self._links:
            raise ConfigError(
                f"divergence {self.registered_name()!r} has no link {self.link_name!r} "
                f"({did_you_mean(self.link_name, self._links)})"
            )
        self.link_in_use: Link = self._links[self.link_name]

    # ---- implemented by a subclass ----------------------------------------------------------------

    def generator(self, t: Tensor) -> Tensor:
        """f(t) for t >= 0; convex, ``f(1) = 0``; may be infinite at 0."""
        raise NotImplementedError

    def conjugate(self, s: Tensor) -> Tensor:
        """f*(s) = sup_t s t - f(t); infinite outside its domain."""
        raise NotImplementedError

    def links(self) -> Mapping[str, Link]:
        """The available links by name: ``fgan``, ``calibrated``, ``universal`` or other names."""
        raise NotImplementedError

    # ---- called by users --------------------------------------------------------------------------

    def link(self, v: Tensor) -> Tensor:
        """g(v), with the guard applied."""
        return self.link_in_use.positive(self._guarded(v))

    def positive(self, v: Tensor) -> Tensor:
        """The branch of aligned samples, g(v)."""
        return self.link(v)

    def negative(self, v: Tensor) -> Tensor:
        """The branch of unaligned samples, f*(g(v))."""
        return self.link_in_use.negative(self._guarded(v))

    def critic(self, ratio: Tensor) -> Tensor:
        """The optimal v at density ratio dD+/dD- (before the guard); may be infinite."""
        return self.link_in_use.critic(_wide(ratio))

    @property
    def link_names(self) -> list[str]:
        """The links that the option ``link`` accepts."""
        return list(self._links)

    @property
    def guard_limit(self) -> float:
        """|v| beyond which the guard flattens the branches."""
        return self.link_in_use.guard_limit

    @property
    def canonical(self) -> bool:
        """Whether g^-1(f'(inf)) = inf: no mass is left below the average reward at the optimum."""
        return self.link_in_use.canonical

    @property
    def calibrated(self) -> bool:
        """Whether both branches have the same slope at v = 0, that is g(0) in the subdifferential of f at 1."""
        pull, push = _slope(self.positive, 0.0), _slope(self.negative, 0.0)
        return pull > 0 and abs(pull - push) <= 1e-9

    def share_beyond_guard(self, v: Tensor) -> float:
        """Share of the values whose magnitude exceeds ``guard_limit``; it should stay near zero."""
        return float((v.detach().abs() > self.guard_limit).double().mean()) if v.numel() else 0.0

    def exact(self, p: Tensor, q: Tensor) -> Tensor:
        """D_f(P||Q) of two probability vectors over one finite set; scalar, fp64, may be infinite."""
        p, q = p.double(), q.double()
        inside = q > 0
        value = (q[inside] * self.generator(p[inside] / q[inside])).sum()
        outside = p[~inside].sum()
        return value + outside * self.slope_at_infinity if outside > 0 else value

    def slope(self, log_ratio: Tensor) -> Tensor:
        """f'(e^w): the derivative of the generator at a density ratio that is given by its logarithm.

        Where f has a kink it is the middle of the subdifferential. A divergence without a link named ``universal``
        gets it from its generator, with w held between -700 and 700.

        Args:
            log_ratio: [...] w, in nats; may be infinite.

        Returns:
            [...] fp64 without gradient; infinite where f' does not fit in float64.
        """
        w = log_ratio.detach().double()
        if "universal" in self._links:
            return self._links["universal"].positive(w)
        return _derivative(self.generator, _ratio(w))

    def terms(self, log_ratio: Tensor, drawn_from: Literal["policy", "reference"] = "policy") -> Tensor:
        """The terms whose mean estimates D_f(P||Q): ``f(t) - f'(1)(t - 1)``, divided by t for samples of P.

        Subtracting ``f'(1)(t - 1)``, whose expectation is zero, makes every term non-negative. For kl drawn from
        the policy this is the k3 estimator.

        Args:
            log_ratio: [...] log-ratios ``log P - log Q``, in nats, of samples drawn from P ("policy") or Q
                ("reference").
            drawn_from: the distribution of the samples.

        Returns:
            [...] fp64 without gradient; infinite only where the value, or f' there, does not fit in float64.
        """
        w = log_ratio.detach().double()
        return bregman_terms(self.slope, self._conjugate_of_slope, w, drawn_from == "policy")

    def estimate(self, log_ratio: Tensor, drawn_from: Literal["policy", "reference"] = "policy") -> tuple[float, float]:
        """Estimate D_f(P||Q) from samples of ``log P - log Q``: the mean of ``terms``.

        Args:
            log_ratio: [N] log-ratios, in nats, of samples drawn from P ("policy") or Q ("reference").
            drawn_from: the distribution of the samples.

        Returns:
            Mean and standard error (NaN for a single sample); finite where every term is, except for a standard error
            that does not fit in float64.
        """
        terms = self.terms(log_ratio.flatten(), drawn_from)
        n = terms.numel()
        largest = float(terms.max()) if n else math.nan
        # Sums and squares of terms above 1e150 may overflow where the results do not.
        unit = largest if 1e150 < largest < math.inf else 1.0
        spread = float((terms / unit).std(correction=1)) / math.sqrt(n) * unit if n > 1 else math.nan
        return (float((terms / unit).mean()) * unit if n else math.nan), spread

    def _conjugate_of_slope(self, w: Tensor) -> Tensor:
        """f*(f'(e^w)) = e^w f'(e^w) - f(e^w), fp64 in and out."""
        if "universal" in self._links:
            return self._links["universal"].negative(w)
        ratio = _ratio(w)
        return ratio * self.slope(w) - self.generator(ratio)

    def _guarded(self, v: Tensor) -> Tensor:
        return guard(_wide(v), self.link_in_use.guard_limit)


def guard(v: Tensor, limit: float) -> Tensor:
    """``v`` for |v| <= limit, sign(v) (limit + log1p(|v| - limit)) beyond.

    It is once differentiable and strictly increasing, so a link composed with it is a link: Fenchel-Young
    and the variational bound stay exact, and exponentials of the result stay finite.
    """
    if math.isinf(limit):
        return v
    return v.clamp(-limit, limit) + v.sign() * torch.log1p(torch.relu(v.abs() - limit))


def in_float64(branch: Branch) -> Branch:
    """A branch evaluated in float64 and returned in the dtype of its input.

    For formulas with cancellation, or that scale v before an exponential: fp32 loses ``30 * 6e-8`` there.
    """

    def evaluated(v: Tensor) -> Tensor:
        return branch(v.double()).to(v.dtype)

    return evaluated


def _wide(v: Tensor) -> Tensor:
    return v if v.dtype == torch.float64 else v.float()


def _ratio(w: Tensor) -> Tensor:
    """e^w, which neither overflows nor becomes 0."""
    return w.clamp(-700.0, 700.0).exp()


def _slope(branch: Branch, at: float) -> float:
    return float(_derivative(branch, torch.tensor(at, dtype=torch.float64)))


def _derivative(branch: Branch, at: Tensor) -> Tensor:
    """The derivative of an elementwise function, without gradient."""
    with torch.enable_grad():
        points = at.detach().clone().requires_grad_(True)
        (slopes,) = torch.autograd.grad(branch(points).sum(), points)
    return slopes


def get_divergence(spec: Spec | Divergence, **options: Any) -> Divergence:
    """An f-divergence, e.g. ``get_divergence("kl", link="calibrated")``; see ``fdiv_gym.get``."""
    plugin: Divergence = get("divergence", spec, **options)
    return plugin
