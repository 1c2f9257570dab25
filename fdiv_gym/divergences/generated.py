"""A divergence from its generator alone, e.g. ``divergence_from_generator("t*log(t)")``."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from fdiv_gym.divergences.analysis import Analysis, analyse, number_at
from fdiv_gym.divergences.base import Divergence, Link, in_float64
from fdiv_gym.divergences.expressions import compile_torch

BISECTIONS = 70


class FromGenerator(Divergence):
    """Any differentiable, strictly convex generator, given as text in t.

    The link is the universal one, g = f' o exp: positive(v) = f'(e^v), negative(v) = e^v f'(e^v) - f(e^v),
    so the optimal critic is the log density ratio and both branches have slope f''(1) at the reference.
    Both are derived by sympy and evaluated in float64. To register a generator under a name::

        registrar.add("divergence", "mine", "fdiv_gym.divergences.generated:FromGenerator",
                      options={"generator": "t*log(t)"}, requires=("torch",))

    Raises:
        ConfigError: the text is not a valid generator.
    """

    class Options(Divergence.Options):
        """Options of a divergence derived from its generator."""

        generator: str
        """f as text: t, numbers, + - * / ** ^ ( ), log, ln, exp, sqrt; with f(1) = 0."""

    default_link = "universal"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.slope_at_infinity = self.analysis.slope_at_infinity

    @cached_property
    def analysis(self) -> Analysis:
        """The generator, its branches and its limits as sympy expressions and numbers."""
        return analyse(self.options.generator)

    @property
    def domain(self) -> tuple[float, float]:
        """The open interval that f' maps (0, inf) onto: the conjugate is infinite above it, -f(0) below."""
        return self.analysis.slope_at_zero, self.analysis.slope_at_infinity

    def generator(self, t: Tensor) -> Tensor:
        """f(t); at 0, its limit."""
        inside = t > 0
        values = self._generator(torch.where(inside, t, 1.0))
        return torch.where(inside, values, self.analysis.value_at_zero)

    def conjugate(self, s: Tensor) -> Tensor:
        """f*(s) = sup over t >= 0; the closed form where sympy finds one, else by bisection on f'(e^v) = s."""
        low, high = self.domain
        inside = (s > low) & (s <= high)
        safe = torch.where(inside, s, self._centre)
        if self.closed_form is not None:
            values = in_float64(compile_torch(self.closed_form[0], self.closed_form[1]))(safe)
        else:
            values = self._numeric_conjugate(safe)
        outside = torch.full_like(s, -self.analysis.value_at_zero).masked_fill(s > high, math.inf)
        return torch.where(inside, values, outside)

    @cached_property
    def closed_form(self) -> tuple[Any, Any] | None:
        """The conjugate and its variable s as sympy expressions, or None if no closed form was found."""
        return _closed_conjugate(self.options.generator)

    def links(self) -> dict[str, Link]:
        """``universal``, which is calibrated."""
        found = self.analysis
        link = Link(
            in_float64(compile_torch(found.positive, found.v)),
            in_float64(compile_torch(found.negative, found.v)),
            torch.log,
            exponent=found.exponent,
        )
        return {"universal": link, "calibrated": link}

    def slope(self, log_ratio: Tensor) -> Tensor:
        """f'(e^w); with forty digits where a part of the formula overflows in float64."""
        w = log_ratio.detach().double()
        found = self.analysis
        return self._with_far(w, super().slope(self._near(w)), found.positive, self.domain)

    def terms(self, log_ratio: Tensor, drawn_from: Literal["policy", "reference"] = "policy") -> Tensor:
        """See ``Divergence.terms``; with forty digits where a part of the formula overflows in float64."""
        import sympy

        w, found = log_ratio.detach().double(), self.analysis
        ratio = sympy.exp(found.v)
        formula = found.generator.subs(found.t, ratio) - found.positive.subs(found.v, 0) * (ratio - 1)
        ends = found.value_at_zero + self._centre, math.inf
        if drawn_from == "policy":
            formula, ends = sympy.expand(formula / ratio), (math.inf, found.slope_at_infinity - self._centre)
        return self._with_far(w, super().terms(self._near(w), drawn_from), formula, ends)

    @property
    def _safe_limit(self) -> float:
        """|v| up to which no part of a branch overflows; ``analysis`` sets the exponent of the guard by it."""
        return 3.5 * self._links["universal"].guard_limit

    def _near(self, w: Tensor) -> Tensor:
        return w.clamp(-self._safe_limit, self._safe_limit)

    def _with_far(self, w: Tensor, values: Tensor, formula: Any, ends: tuple[float, float]) -> Tensor:
        """``values`` with those beyond ``_safe_limit`` replaced by ``formula``, whose limits are ``ends``."""
        far = w.abs() > self._safe_limit
        if bool(far.any()):
            exact = [self._far_value(formula, x, ends) for x in w[far].tolist()]
            values = values.masked_scatter(far, torch.tensor(exact, dtype=torch.float64, device=w.device))
        return values

    def _far_value(self, formula: Any, place: float, ends: tuple[float, float]) -> float:
        if math.isinf(place):
            return ends[0] if place < 0 else ends[1]
        return number_at(formula, self.analysis.v, place)

    @cached_property
    def _generator(self) -> Callable[[Tensor], Tensor]:
        return in_float64(compile_torch(self.analysis.generator, self.analysis.t))

    @cached_property
    def _centre(self) -> float:
        """f'(1), a point inside the domain of the conjugate."""
        return float(self.link_in_use.positive(torch.zeros((), dtype=torch.float64)))

    def _numeric_conjugate(self, s: Tensor) -> Tensor:
        link = self._links["universal"]
        target = s.detach().double()
        limit = min(link.guard_limit, 300.0)
        low, high = torch.full_like(target, -limit), torch.full_like(target, limit)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            above = link.positive(middle) > target
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        v = (low + high) / 2
        # At v the value is s e^v - f(e^v); its slope in s is e^v (envelope theorem).
        values = link.negative(v) + v.exp() * (target - link.positive(v))
        return (values + v.exp() * (s - target)).to(s.dtype)


def divergence_from_generator(generator: str, name: str = "") -> Divergence:
    """A divergence derived from its generator.

    Args:
        generator: f as text in t, e.g. ``"t*log(t)"``; parsed without eval.
        name: its name in messages; the generator if empty.

    Returns:
        A divergence with the universal link; objectives accept it in place of a name.

    Raises:
        ConfigError: the text cannot be parsed, or f is not finite, differentiable and strictly convex
            for t > 0 with f(1) = 0.
    """

    class Named(FromGenerator):
        _registered_name = name or generator

    return Named(generator=generator)


@lru_cache(maxsize=256)
def _closed_conjugate(text: str) -> tuple[Any, Any] | None:
    """Solve f'(t) = s for t, insert the solution, and keep a form that float64 evaluates correctly."""
    import sympy

    found = analyse(text)
    s = sympy.Symbol("s", real=True)
    points = torch.linspace(-3, 3, 25, dtype=torch.float64)
    at = compile_torch(found.positive, found.v)(points)
    expected = compile_torch(found.negative, found.v)(points)
    for formula in _candidates(found, s):
        # A form that the evaluator does not support, such as LambertW, is discarded.
        with contextlib.suppress(Exception):
            values = compile_torch(formula, s)(at)
            if torch.allclose(values, expected, rtol=1e-9, atol=1e-9):
                return formula, s
    return None


def _candidates(found: Analysis, s: Any) -> list[Any]:
    """Formulas in s of s t - f(t) at the t where f'(t) = s."""
    import sympy

    def inserted(solution: Any, slope: Any) -> Any:
        return sympy.simplify(slope * solution - found.generator.subs(found.t, solution))

    constant, rest = found.positive.as_independent(found.v, as_Add=True)
    factor, rest = rest.as_independent(found.v, as_Add=False)
    if rest == found.v:
        return [inserted(sympy.exp((s - constant) / factor), s)]
    if isinstance(rest, sympy.exp) and (rate := rest.args[0] / found.v).is_number:
        w = sympy.Symbol("w", positive=True)  # f'(t) = constant + factor w; simplify needs w > 0
        return [inserted(w ** (1 / rate), constant + factor * w).subs(w, (s - constant) / factor)]
    slope = sympy.diff(found.generator, found.t)
    if any(power.exp.is_Rational and power.exp.q > 2 for power in slope.atoms(sympy.Pow)):
        return []  # sympy turns these into polynomials whose degree takes minutes to solve
    try:
        return [inserted(solution, s) for solution in sympy.solve(slope - s, found.t)]
    except NotImplementedError:
        return []
