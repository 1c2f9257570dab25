"""Conformance kit for divergences: numerical checks of every property of a Divergence.

The checks use only the public contract, so they apply to external plugins too::

    report = check_divergence(fg.get_divergence("mine"))
    assert report.ok, report.text()
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fdiv_gym.divergences.base import Branch, Divergence
from fdiv_gym.testing.report import Report

TIGHT = 1e-6
LOOSE = 1e-5
#: v at which formulas are compared; round numbers are avoided, because kinks are likely there.
GRID = torch.linspace(-3.97, 3.93, 80, dtype=torch.float64)
RATIOS = torch.tensor([0.2, 0.5, 0.9, 1.0, 1.2, 2.0, 4.0], dtype=torch.float64)


def check_divergence(divergence: Divergence) -> Report:
    """Check a divergence with the link it was built with, or with each of its links if none was chosen.

    Args:
        divergence: an instance.

    Returns:
        A report; ``report.ok`` is the verdict, and ``report.text()`` lists the failures with place and size.
        For several links, ``report.parts`` holds one report for each.
    """
    if divergence.options.link or len(divergence.link_names) == 1:
        return _check_link(divergence)
    parts = [_check_link(_with_link(divergence, link)) for link in divergence.link_names]
    return Report.of_parts(f"divergence {divergence.registered_name()!r}", parts)


def _with_link(divergence: Divergence, link: str) -> Divergence:
    other = type(divergence)(**{**dict(divergence.options), "link": link})
    other.entry = divergence.entry
    return other


def _check_link(divergence: Divergence) -> Report:
    report = Report(f"divergence {divergence.registered_name()!r} (link {divergence.link_name})")
    checks: dict[str, Callable[[Divergence, Report], None]] = {
        "generator-at-one": _generator_at_one,
        "convex": _convex,
        "slope-at-infinity": _slope_at_infinity,
        "conjugate": _conjugate_at_the_link,
        "fenchel-young": _fenchel_young,
        "legendre": _legendre,
        "monotone": _monotone,
        "gradient": _gradients,
        "finite": _finite,
        "dtype": _dtypes,
        "accuracy": _accuracy,
        "calibrated": _calibrated,
        "canonical": _canonical,
        "critic": _critic,
        "variational": _variational,
        "deterministic": _deterministic,
    }
    for name, check in checks.items():
        with report.section(name):
            check(divergence, report)
    return report


def _generator_at_one(divergence: Divergence, report: Report) -> None:
    value = float(divergence.generator(torch.tensor(1.0, dtype=torch.float64)))
    report.check("generator-at-one", abs(value) <= 1e-12, f"f(1) must be 0, is {value:.3g}")


def _convex(divergence: Divergence, report: Report) -> None:
    t = torch.linspace(-7, 7, 281, dtype=torch.float64).exp()
    values = divergence.generator(t)
    if not report.check("convex", bool(values.isfinite().all()), "f must be finite for t > 0"):
        return
    slopes = values.diff() / t.diff()
    drop = slopes.diff() + TIGHT * slopes[1:].abs().clamp(min=1)
    worst = int(drop.argmin())
    report.check(
        "convex",
        bool(drop.min() >= 0),
        f"f must be convex: its slope falls from {slopes[worst]:.4g} to {slopes[worst + 1]:.4g} "
        f"near t = {t[worst + 1]:.3g}",
    )


def _slope_at_infinity(divergence: Divergence, report: Report) -> None:
    """Extrapolate chord slopes at large t as a geometric sequence."""
    t = torch.tensor([1e3, 1e6, 1e9], dtype=torch.float64)
    s = [float(x) for x in (divergence.generator(2 * t) - divergence.generator(t)) / t]
    first, second = s[1] - s[0], s[2] - s[1]
    settled = abs(second) <= 1e-9 * max(1.0, abs(s[2]))
    ratio = 0.0 if settled else second / first
    found = math.inf if ratio >= 0.99 else s[2] + (0.0 if settled else second * ratio / (1 - ratio))
    declared = divergence.slope_at_infinity
    agrees = declared == found or abs(declared - found) <= 0.01 * max(1.0, abs(declared))
    report.check("slope-at-infinity", agrees, f"declared {declared:.6g}, but f(t)/t tends to {found:.6g}")
    if math.isfinite(declared) and agrees:
        beyond = float(divergence.conjugate(torch.tensor(declared + 0.1, dtype=torch.float64)))
        report.check(
            "slope-at-infinity",
            beyond == math.inf,
            f"f*(s) must be infinite for s above f'(inf) = {declared:.6g}, is {beyond:.4g} at s = {declared + 0.1:.6g}",
        )


def _inside(divergence: Divergence) -> Tensor:
    """Grid points inside the guard and the interval on which the negative branch is declared increasing."""
    limit = min(divergence.guard_limit, 30.0)
    return GRID[(divergence.link_in_use.negative_from <= GRID) & (GRID.abs() <= limit)]


def _conjugate_at_the_link(divergence: Divergence, report: Report) -> None:
    v = _inside(divergence)
    _compare(
        report,
        "conjugate",
        "negative(v) must be conjugate(link(v))",
        v,
        divergence.negative(v),
        divergence.conjugate(divergence.link(v)),
    )


def _fenchel_young(divergence: Divergence, report: Report) -> None:
    v = _inside(divergence)
    push, pull = _derivative(divergence.negative, v), _derivative(divergence.positive, v)
    t = push / pull
    left = divergence.generator(t) + divergence.negative(v)
    _compare(report, "fenchel-young", "f(t) + f*(s) must be s t at t = (f*)'(s)", v, left, t * divergence.positive(v))


def _legendre(divergence: Divergence, report: Report) -> None:
    s = divergence.link(_inside(divergence))
    points = torch.linspace(-24, 24, 9601, dtype=torch.float64).expand(s.numel(), -1)
    supremum = torch.full_like(s, -math.inf)
    for width in (1e-2, 1e-4, 0.0):
        values, place = (s[:, None] * points.exp() - divergence.generator(points.exp())).max(-1)
        supremum = torch.maximum(supremum, values)
        points = points.gather(-1, place[:, None]) + torch.linspace(-width, width, 401, dtype=torch.float64)
    at_zero = -divergence.generator(torch.zeros((), dtype=torch.float64))
    supremum = torch.maximum(supremum, at_zero.nan_to_num(nan=-math.inf))
    _compare(
        report, "legendre", "f*(s) must be sup over t >= 0 of s t - f(t)", s, divergence.conjugate(s), supremum, "s"
    )


def _monotone(divergence: Divergence, report: Report) -> None:
    start = divergence.link_in_use.negative_from
    for name, branch, low in (
        ("positive", divergence.positive, -math.inf),
        ("negative", divergence.negative, start),
    ):
        for dtype in (torch.float64, torch.float32):
            v = torch.linspace(-100, 100, 4001, dtype=torch.float64)
            v = v[v >= low].to(dtype)
            values = branch(v).double()
            step = values.diff() + TIGHT * values[1:].abs().clamp(min=1)
            worst = int(step.argmin())
            report.check(
                "monotone",
                bool(step.min() >= 0),
                f"the {name} branch must not fall, but it falls at v = {v[worst]:.3g} ({dtype})",
            )
        v = GRID[(low <= GRID)]
        slope = branch(v).diff()
        strict = bool((slope > 0).all()) or (name == "negative")
        report.check("monotone", strict, f"the {name} branch, a link, must rise strictly: it is flat in float64")


def _gradients(divergence: Divergence, report: Report) -> None:
    for name, function, points in (
        ("positive", divergence.positive, GRID),
        ("negative", divergence.negative, GRID),
        ("generator", divergence.generator, (GRID / 2).exp()),
        ("conjugate", divergence.conjugate, divergence.link(_inside(divergence) / 2).detach()),
    ):
        step = 1e-5 * points.abs().clamp(min=1e-2)
        coarse, fine = (_central_difference(function, points, h) for h in (step, step / 2))
        slope = (4 * fine - coarse) / 3  # Richardson: near the end of a domain a plain difference is too inaccurate
        what = f"autograd of {name} must agree with finite differences"
        _compare(report, "gradient", what, points, _derivative(function, points), slope, "x", LOOSE)


def _finite(divergence: Divergence, report: Report) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        for name, branch in (("positive", divergence.positive), ("negative", divergence.negative)):
            v = torch.linspace(-100, 100, 801).to(dtype).requires_grad_(True)
            values = branch(v)
            (gradient,) = torch.autograd.grad(values.sum(), v)
            for what, numbers in (("value", values), ("gradient", gradient)):
                bad = ~numbers.detach().isfinite()
                where = f"{v.detach()[bad][0]:.4g}" if bool(bad.any()) else ""
                message = f"the {what} of the {name} branch is not finite at v = {where} ({dtype}); set Link.exponent"
                report.check("finite", not bool(bad.any()), message)


def _dtypes(divergence: Divergence, report: Report) -> None:
    wanted = {torch.float64: torch.float64, torch.float32: torch.float32, torch.bfloat16: torch.float32}
    for given, expected in wanted.items():
        v = torch.zeros(2, 3, dtype=given)
        for name, branch in (("positive", divergence.positive), ("negative", divergence.negative)):
            values = branch(v)
            right = values.dtype == expected and values.shape == v.shape
            message = (
                f"the {name} branch of {given} [2, 3] must be {expected} [2, 3], is {values.dtype} {list(values.shape)}"
            )
            report.check("dtype", right, message)


def _accuracy(divergence: Divergence, report: Report) -> None:
    limit = min(30.0, divergence.guard_limit)
    for dtype in (torch.float32, torch.bfloat16):
        v = torch.cat([torch.linspace(-limit, limit, 1201), torch.linspace(-0.01, 0.01, 201)]).to(dtype)
        for name, branch in (("positive", divergence.positive), ("negative", divergence.negative)):
            what = f"the {name} branch of {dtype} must agree with float64"
            _compare(report, "accuracy", what, v, branch(v).double(), branch(v.double()))


def _calibrated(divergence: Divergence, report: Report) -> None:
    step = torch.tensor([-1e-5, 1e-5], dtype=torch.float64)
    pull, push = (float(b(step).diff()) / 2e-5 for b in (divergence.positive, divergence.negative))
    found = pull > 0 and abs(pull - push) <= LOOSE * max(1.0, pull)
    declared = "calibrated" if divergence.calibrated else "not calibrated"
    message = f"the link is declared {declared}, but at v = 0 the branches have slopes {pull:.4g} and {push:.4g}"
    report.check("calibrated", found == divergence.calibrated, message)
    if divergence.link_name == "calibrated":
        report.check("calibrated", found, f"the link named 'calibrated' has slopes {pull:.4g} and {push:.4g} at v = 0")


def _canonical(divergence: Divergence, report: Report) -> None:
    """g^-1(f'(inf)) is infinite exactly if the optimal critic grows without bound in the density ratio."""
    ratios = torch.tensor([1e4, 1e8, 1e16], dtype=torch.float64)
    a, b, c = (float(x) for x in divergence.critic(ratios))
    grows = math.isinf(c) or (c - b) > 0.5 * (b - a) > 0
    declared = "canonical" if divergence.canonical else "not canonical"
    message = f"the link is declared {declared}, but the critic at ratios 1e4, 1e8, 1e16 is {a:.4g}, {b:.4g}, {c:.4g}"
    report.check("canonical", grows == divergence.canonical, message)


def _critic(divergence: Divergence, report: Report) -> None:
    v = divergence.critic(RATIOS)
    finite = v.isfinite() & (v.abs() <= divergence.guard_limit)
    if not bool(finite.any()):  # an infinite critic, as total variation's, is tested by the value it attains
        report.check("critic", bool(v.isinf().any()), f"the critic is neither finite nor infinite: {v.tolist()}")
        return
    v, ratios = v[finite], RATIOS[finite]
    ratio = _derivative(divergence.negative, v) / _derivative(divergence.positive, v)
    _compare(
        report, "critic", "at critic(rho) the slopes of the branches must have ratio rho", ratios, ratio, ratios, "rho"
    )


def _variational(divergence: Divergence, report: Report) -> None:
    p = torch.tensor([0.1, 0.2, 0.3, 0.25, 0.15], dtype=torch.float64)
    q = torch.tensor([0.3, 0.25, 0.2, 0.15, 0.1], dtype=torch.float64)
    exact = float(divergence.exact(p, q))

    def bound(v: Tensor) -> float:
        return float((p * divergence.positive(v)).sum() - (q * divergence.negative(v)).sum())

    attained = bound(divergence.critic(p / q).clamp(-40, 40))
    message = f"with the optimal critic the bound must be D_f = {exact:.8g}, is {attained:.8g}"
    report.check("variational", abs(attained - exact) <= TIGHT * max(1.0, abs(exact)), message)
    noise = torch.Generator().manual_seed(0)
    best = max(bound(3 * torch.randn(5, generator=noise, dtype=torch.float64)) for _ in range(200))
    message = f"no critic may exceed D_f = {exact:.6g}, but one reaches {best:.6g}"
    report.check("variational", best <= exact + TIGHT, message)


def _deterministic(divergence: Divergence, report: Report) -> None:
    for name, branch in (("positive", divergence.positive), ("negative", divergence.negative)):
        v = GRID.clone()
        first, again = branch(v), branch(v)
        report.check("deterministic", torch.equal(first, again), f"the {name} branch gives two values for one input")
        report.check("deterministic", torch.equal(v, GRID), f"the {name} branch changes its input")
        alone = torch.stack([branch(x) for x in v[:8]])
        _compare(report, "deterministic", f"the {name} branch must be elementwise", v[:8], alone, first[:8])


def _central_difference(function: Branch, at: Tensor, step: Tensor) -> Tensor:
    return (function(at + step) - function(at - step)) / (2 * step)


def _derivative(function: Branch, at: Tensor) -> Tensor:
    leaf = at.detach().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return gradient


def _compare(
    report: Report,
    name: str,
    what: str,
    at: Tensor,
    got: Tensor,
    expected: Tensor,
    letter: str = "v",
    within: float = TIGHT,
) -> None:
    """Check |got - expected| <= within max(1, |expected|); the message names the input of the largest error."""
    got, expected = got.detach().double(), expected.detach().double()
    error = (got - expected).abs() / expected.abs().clamp(min=1)
    error = torch.where(got == expected, 0.0, error).nan_to_num(nan=math.inf)
    worst = int(error.argmax())
    message = f"{what}: {got[worst]:.8g} against {expected[worst]:.8g} at {letter} = {at[worst]:.5g}"
    report.check(name, bool(error[worst] <= within), message)
