"""Analysis of a generator given as text: its validity, its branches under the universal link, its limits.

With ``g = f' o exp`` the branches need no conjugate: ``positive(v) = f'(e^v)`` and
``negative(v) = e^v f'(e^v) - f(e^v)``. They are derived by sympy. Of several equal expressions
the one whose evaluation in float64 is closest to that in forty digits is used. Numbers named t are density
ratios, v their logs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from fdiv_gym.divergences.base import GUARD_EXPONENT
from fdiv_gym.divergences.expressions import compile_torch, parse_generator
from fdiv_gym.errors import ConfigError

DIGITS = 40
FAR = 1000  # |v| at which rates of growth are measured: log v/v is below 0.01 there
SAFE_EXPONENT = 175.0  # four factors exp(175), as in a gradient of a quotient, still fit in float64
STEEPEST = 20.0  # a branch steeper than exp(20 v) leaves too small a range to the guard
TOLERANCE = 1e-7


@dataclass(frozen=True)
class Analysis:
    """A valid generator and its derived quantities.

    Args:
        generator: f as a sympy expression in ``t``.
        t: the symbol of the density ratio.
        v: the symbol of its logarithm.
        positive: f'(e^v), a sympy expression in ``v``.
        negative: e^v f'(e^v) - f(e^v), a sympy expression in ``v``.
        value_at_zero: f(0) as the limit from above; may be infinite.
        slope_at_zero: f'(0), the lower end of what f' reaches; may be -inf.
        slope_at_infinity: f'(inf), the upper end of the conjugate's domain; may be inf.
        exponent: determines the guard, see ``Link.exponent``.
    """

    generator: Any
    t: Any
    v: Any
    positive: Any
    negative: Any
    value_at_zero: float
    slope_at_zero: float
    slope_at_infinity: float
    exponent: float


@lru_cache(maxsize=256)
def analyse(text: str) -> Analysis:
    """Analyse the generator ``text``.

    Raises:
        ConfigError: the text cannot be parsed, or is not a differentiable, strictly convex generator
            with f(1) = 0 that is finite for all t > 0; the message names the violated condition and its place.
    """
    import sympy

    f = parse_generator(text)
    t = sympy.Symbol("t", positive=True)
    v = sympy.Symbol("v", real=True)
    slope = sympy.diff(f, t)
    _check(text, f, slope, t, v)
    raw_positive = slope.subs(t, sympy.exp(v))
    growth = _growth(text, raw_positive, v)  # before expand, which would expand a power of degree 1000
    raw_negative = sympy.expand(t * slope - f).subs(t, sympy.exp(v))
    growth = max(growth, _growth(text, raw_negative, v))
    radius = min(30.0, GUARD_EXPONENT / growth) if growth else 30.0
    positive = _stable(text, raw_positive, v, radius)
    negative = _stable(text, raw_negative, v, radius)
    inner = max(_inner_growth(positive, v), _inner_growth(negative, v))
    return Analysis(
        generator=f,
        t=t,
        v=v,
        positive=positive,
        negative=negative,
        value_at_zero=_limit(f, t, "zero"),
        slope_at_zero=_limit(slope, t, "zero"),
        slope_at_infinity=_limit(slope, t, "infinity"),
        exponent=max(growth, inner * GUARD_EXPONENT / SAFE_EXPONENT),
    )


def _check(text: str, f: Any, slope: Any, t: Any, v: Any) -> None:
    import sympy

    if t not in f.free_symbols:
        raise ConfigError(f"generator {text!r} does not depend on t")
    curvature = sympy.diff(slope, t)
    for exponent in [k / 4 for k in range(-72, 73)]:
        point = sympy.Rational(exponent)
        at = {t: sympy.exp(point)}
        ratio = math.exp(exponent)
        value = _number(f, at)
        if value is None:
            raise ConfigError(
                f"generator {text!r} has no finite real value at t = {ratio:.3g}: it must have one for all t > 0"
            )
        bend = _number(curvature.subs(t, 1), {}) if exponent == 0 else _number(curvature, at)
        if bend is None or bend <= 0:
            found = "has no value" if bend is None else f"is {float(bend):.3g}"
            raise ConfigError(f"generator {text!r} is not strictly convex with f'' > 0: f'' {found} at t = {ratio:.3g}")
    at_one = _number(f, {t: sympy.Integer(1)})
    if at_one is None or abs(at_one) > 1e-25:
        exact = sympy.nsimplify(f.subs(t, 1))
        shown = sympy.sstr(exact if abs(exact) < 10**50 else exact.evalf(5))
        raise ConfigError(f"generator {text!r} has f(1) = {shown}, which must be 0: subtract it")


def _number(expression: Any, at: dict[Any, Any]) -> Any:
    """The value with forty digits as a real sympy number, or None."""
    try:
        value = expression.evalf(DIGITS, subs=at, maxn=400)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if value.is_Number and value.is_finite and value.is_real else None


def number_at(expression: Any, symbol: Any, place: float) -> float:
    """The value at a finite place, computed with forty digits; infinite where it does not fit in a float.

    NaN if no value is found.
    """
    import sympy

    value = _number(expression, {symbol: sympy.Rational(place)})
    return math.nan if value is None else float(value)


def _growth(text: str, branch: Any, v: Any) -> float:
    """The rate c at which log |branch| grows with |v|, from both ends; 0 for powers of v."""
    import sympy

    rates = [0.0]
    for sign in (-1, 1):
        near, far = (_number(branch, {v: sympy.Integer(sign * at)}) for at in (FAR, 2 * FAR))
        if near is None or far is None:
            raise ConfigError(f"generator {text!r}: a branch has no finite value at v = {sign * 2 * FAR}")
        if near != 0 and far != 0:
            rates.append(float((sympy.log(abs(far)) - sympy.log(abs(near))).evalf(15) / FAR))
    rate = max(rates)
    if rate > STEEPEST:
        raise ConfigError(
            f"generator {text!r} grows too fast: a branch rises faster than exp({STEEPEST:g} |v|) in v = log t, "
            "and no guard keeps its gradients finite"
        )
    return round(rate, 2) if rate > 0.01 else 0.0


def _inner_growth(expression: Any, v: Any) -> float:
    """The steepest rate among all parts of the expression: a part of a bounded quotient may overflow."""
    import sympy

    def size(part: Any, sign: int) -> float:
        value = _number(part, {v: sympy.Integer(sign * FAR)})
        return 0.0 if value is None or value == 0 else float(sympy.log(abs(value)).evalf(15))

    rates = [0.0]
    for part in set(sympy.preorder_traversal(expression)):
        for sign in (-1, 1):
            whole = size(part, sign)
            vanishes = whole < 0 and not _inside_log(expression, part)
            rates.append(0.0 if vanishes else abs(whole) / FAR)  # underflow to 0 is harmless
            if part.is_Mul:  # factors may overflow together, and one that underflows may balance them
                sizes = [size(factor, sign) for factor in part.args]
                grown, shrunk = sum(s for s in sizes if s > 0), -sum(s for s in sizes if s < 0)
                rates.append((grown if vanishes else max(grown, shrunk if grown else 0.0)) / FAR)
    rate = max(rates)
    return rate if rate > 0.02 else 0.0


def _inside_log(expression: Any, part: Any) -> bool:
    import sympy

    return any(part == log.args[0] for log in expression.atoms(sympy.log))


def _stable(text: str, raw: Any, v: Any, radius: float) -> Any:
    """The shortest equal expression that float64 evaluates accurately, in values and gradients."""
    import sympy

    grid = [radius * k / 16 for k in range(-16, 17)] + [-1e-3, 1e-3, -1e-7, 1e-7]
    points = torch.tensor(grid, dtype=torch.float64)
    exact = [[_number(e, {v: sympy.Rational(x)}) for x in grid] for e in (raw, sympy.diff(raw, v))]
    references = [
        torch.tensor([math.nan if x is None else float(x) for x in row], dtype=torch.float64) for row in exact
    ]
    rewrites: tuple[Callable[[Any], Any], ...] = (lambda e: e, sympy.expand, sympy.factor)
    spellings = [rewrite(raw) for rewrite in rewrites]
    errors = [_float_error(spelling, v, points, references) for spelling in spellings]
    if min(errors) > TOLERANCE:  # slow, so used only if all others fail
        spellings.append(sympy.simplify(raw))
        errors.append(_float_error(spellings[-1], v, points, references))
    if not min(errors) <= TOLERANCE:
        raise ConfigError(f"generator {text!r}: its branches have an error of {min(errors):.1g} in float64")
    good = [s for s, error in zip(spellings, errors, strict=True) if error <= max(TOLERANCE / 100, min(errors))]
    return min(good, key=sympy.count_ops)


def _float_error(spelling: Any, v: Any, points: torch.Tensor, references: list[torch.Tensor]) -> float:
    leaf = points.clone().requires_grad_(True)
    values = compile_torch(spelling, v)(leaf)
    if values.requires_grad:
        (slopes,) = torch.autograd.grad(values.sum(), leaf)
    else:
        slopes = torch.zeros_like(points)
    pairs = zip((values.detach(), slopes), references, strict=True)
    worst = max(float(((got - ref).abs() / ref.abs().clamp(min=1)).max()) for got, ref in pairs)
    return worst if not math.isnan(worst) else math.inf


def _limit(expression: Any, t: Any, end: str) -> float:
    """The limit at 0 or at infinity: by sympy, or from values far out where sympy finds none."""
    import sympy

    target = sympy.oo if end == "infinity" else sympy.Integer(0)
    far = _far_values(expression, t, end)
    try:
        found = sympy.limit(expression, t, target, "-" if end == "infinity" else "+")
        if found.is_extended_real and not found.free_symbols:
            value = float(found)
            # f' is monotone and f convex: distant values bound the error of the limit.
            if math.isinf(value) or abs(value - far[-1]) <= 1e-3 * max(1.0, abs(value)) + abs(far[-1] - far[-2]):
                return value
    except (NotImplementedError, ValueError, TypeError, RecursionError):
        pass
    return _settle(far)


def _far_values(expression: Any, t: Any, end: str) -> list[float]:
    import sympy

    sign = 1 if end == "infinity" else -1
    values = [_number(expression, {t: sympy.Integer(10) ** (sign * k)}) for k in (40, 80, 160, 320)]
    return [math.nan if x is None else float(x) for x in values]


def _settle(values: list[float]) -> float:
    """The common value of the last two, or an infinity of the sign to which they diverge."""
    before, last = values[-2], values[-1]
    if abs(last - before) <= 1e-9 * max(1.0, abs(last)):
        return last
    return math.copysign(math.inf, last - before)
