"""Slopes and terms far from ratio 1, against the generators in mpmath with a thousand digits."""

import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fdiv_gym as fg

LOG_RATIOS = [-800.0, -709.0, -100.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 100.0, 800.0]
DIGITS = 1000


def alpha(order):
    return lambda t: (t**order - 1 - order * (t - 1)) / (order * (order - 1))


def skewed(weight):
    def f(t):
        mixture = weight * t + 1 - weight
        return weight * t * mpmath.log(t) - mixture * mpmath.log(mixture)

    return f


# The generator, and its slope at 1, written apart from the code.
GENERATORS = {
    "kl": ({}, lambda t: t * mpmath.log(t), 1),
    "reverse_kl": ({}, lambda t: -mpmath.log(t), -1),
    "pearson": ({}, lambda t: (t - 1) ** 2, 0),
    "hellinger": ({}, lambda t: (mpmath.sqrt(t) - 1) ** 2, 0),
    "jensen_shannon": ({}, lambda t: t * mpmath.log(t) - (t + 1) * mpmath.log((t + 1) / 2), 0),
    "total_variation": ({}, lambda t: abs(t - 1) / 2, 0),
    "alpha": ({"alpha": 0.5}, alpha(mpmath.mpf(0.5)), 0),
    "neyman": ({}, lambda t: (t - 1) ** 2 / t, 0),
    "jeffreys": ({}, lambda t: (t - 1) * mpmath.log(t), 0),
    "triangular": ({}, lambda t: (t - 1) ** 2 / (t + 1), 0),
    "skewed_jensen_shannon": ({"skew": 0.25}, skewed(mpmath.mpf(0.25)), 0),
    "from_generator": ({"generator": "t*log(t)"}, lambda t: t * mpmath.log(t), 1),
}
MORE = [
    ("alpha", {"alpha": 8.0}, alpha(mpmath.mpf(8)), 0),
    ("alpha", {"alpha": -8.0}, alpha(mpmath.mpf(-8)), 0),
    ("from_generator", {"generator": "(t-1)**2"}, GENERATORS["pearson"][1], 0),
    ("from_generator", {"generator": "(t-1)**2/(t+1)"}, GENERATORS["triangular"][1], 0),
    ("from_generator", {"generator": "t*log(t)-(t+1)*log((t+1)/2)"}, GENERATORS["jensen_shannon"][1], 0),
    ("kl", {"link": "fgan"}, GENERATORS["kl"][1], 1),
]
CASES = [(name, *case) for name, case in GENERATORS.items()] + MORE
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(CASES)]


def as_float(value):
    return math.copysign(math.inf, value) if abs(value) > mpmath.mpf(1.7976931348623157e308) else float(value)


def t64(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_every_registered_divergence_is_listed():
    assert set(GENERATORS) == {entry.name for entry in fg.list_entries("divergence")}


@pytest.mark.parametrize("drawn_from", ["policy", "reference"])
@pytest.mark.parametrize(("name", "options", "f", "slope_at_one"), CASES, ids=IDS)
def test_terms(name, options, f, slope_at_one, drawn_from):
    divergence = fg.get_divergence(name, **options)
    found = divergence.terms(t64(*LOG_RATIOS), drawn_from).tolist()
    for w, value in zip(LOG_RATIOS, found, strict=True):
        with mpmath.workdps(DIGITS):
            t = mpmath.exp(mpmath.mpf(w))
            term = f(t) - slope_at_one * (t - 1)
            expected = as_float(term / t if drawn_from == "policy" else term)
        # At 1e-9 the value is about 1e-19: links of the form v + 1 lose seven digits there.
        assert value == pytest.approx(expected, rel=1e-6 if abs(w) < 1e-6 else 1e-12, abs=0), w
        assert divergence.estimate(t64(w), drawn_from)[0] == value


@pytest.mark.parametrize(("name", "options", "f", "slope_at_one"), CASES, ids=IDS)
def test_slope(name, options, f, slope_at_one):
    found = fg.get_divergence(name, **options).slope(t64(*LOG_RATIOS)).tolist()
    for w, value in zip(LOG_RATIOS, found, strict=True):
        if name == "total_variation":
            assert value == (w > 0) / 2 - (w < 0) / 2
            continue
        with mpmath.workdps(DIGITS):
            t = mpmath.exp(mpmath.mpf(w))
            step = t * mpmath.mpf(10) ** -300
            expected = as_float((f(t + step) - f(t - step)) / (2 * step))
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-15), w


def test_kl_at_800_nats_is_799():
    assert fg.get_divergence("kl").estimate(t64(800.0))[0] == pytest.approx(799, rel=1e-14)
    assert fg.get_divergence("kl").estimate(t64(-800.0))[0] == math.inf  # e^800 - 801


@pytest.mark.parametrize("drawn_from", ["policy", "reference"])
@pytest.mark.parametrize(("name", "options", "f", "slope_at_one"), CASES, ids=IDS)
@settings(max_examples=15, deadline=None)
@given(log_ratios=st.lists(st.floats(-1e4, 1e4).filter(lambda w: w == 0 or abs(w) > 1e-4), min_size=1, max_size=6))
def test_an_estimate_is_finite_where_the_true_value_is(name, options, f, slope_at_one, drawn_from, log_ratios):
    with mpmath.workdps(60):
        ratios = [mpmath.exp(mpmath.mpf(w)) for w in log_ratios]
        terms = [f(t) - slope_at_one * (t - 1) for t in ratios]
        terms = [x / t for x, t in zip(terms, ratios, strict=True)] if drawn_from == "policy" else terms
        expected = as_float(sum(terms) / len(terms))
        largest = max(terms)
    found = fg.get_divergence(name, **options).estimate(t64(*log_ratios), drawn_from)[0]
    if largest < 1e300:  # up to a factor above 1e300 the slope of f does not fit in float64
        assert found == pytest.approx(expected, rel=1e-9)
    elif largest > 1e310:
        assert found == math.inf


def test_the_mean_of_terms_near_the_largest_float_is_finite():
    largest, ratio = math.exp(708.9), math.exp(-0.5)  # the sum of four such terms does not fit in float64
    mean, error = fg.get_divergence("pearson").estimate(t64(708.9, 708.9, 708.9, 708.4))
    assert mean == pytest.approx(largest * ((3 + ratio) / 4), rel=1e-10)
    assert error == pytest.approx(largest * ((1 - ratio) / 4), rel=1e-10)


@pytest.mark.parametrize(
    ("name", "policy", "reference"),
    [
        ("kl", math.inf, 1.0),
        ("reverse_kl", 1.0, math.inf),
        ("hellinger", 1.0, 1.0),
        ("jensen_shannon", math.log(2), math.log(2)),
        ("total_variation", 0.5, 0.5),
        ("from_generator", math.inf, 1.0),
    ],
)
def test_infinite_log_ratios_give_the_limits(name, policy, reference):
    divergence = fg.get_divergence(name)
    assert float(divergence.terms(t64(math.inf))) == pytest.approx(policy)
    assert float(divergence.terms(t64(-math.inf), "reference")) == pytest.approx(reference)
    assert math.isnan(float(divergence.terms(t64(math.nan))))
    assert math.isnan(float(divergence.slope(t64(math.nan))))


class Bare(fg.Divergence):
    """A plugin without a universal link: its terms come from its generator."""

    slope_at_infinity = math.inf
    default_link = "fgan"

    def generator(self, t):
        return (t - 1) ** 2

    def links(self):
        from fdiv_gym.divergences import Link

        return {"fgan": Link(lambda v: v, lambda v: v + v * v / 4, lambda r: 2 * (r - 1))}


def test_a_divergence_without_a_universal_link():
    bare, pearson = fg.get_divergence(Bare), fg.get_divergence("pearson")
    w = torch.linspace(-30, 30, 25, dtype=torch.float64)
    assert torch.allclose(bare.slope(w), pearson.slope(w), rtol=1e-12, atol=1e-12)
    for source in ("policy", "reference"):
        assert torch.allclose(bare.terms(w, source), pearson.terms(w, source), rtol=1e-9, atol=1e-12)
    assert float(bare.slope(t64(800.0))) == float(bare.slope(t64(700.0)))
