"""The divergences against values worked out by hand and formulas in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fdiv_gym as fg

LOG2 = math.log(2)
E = math.e


def t64(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# name, options, positive(1), negative(1), f(2), f*(-1/4): from the table of the sources, by hand
BY_HAND = [
    ("kl", {"link": "fgan"}, 1.0, 1.0, 2 * LOG2, math.exp(-1.25)),
    ("kl", {"link": "calibrated"}, 2.0, E, 2 * LOG2, math.exp(-1.25)),
    ("reverse_kl", {}, -1 / E, 0.0, -LOG2, -1 - math.log(0.25)),
    ("pearson", {}, 1.0, 1.25, 1.0, -0.234375),
    ("pearson", {"link": "universal"}, 2 * (E - 1), E * E - 1, 1.0, -0.234375),
    ("hellinger", {}, 1 - 1 / E, E - 1, 3 - 2 * math.sqrt(2), -0.2),
    ("hellinger", {"link": "universal"}, 1 - E**-0.5, E**0.5 - 1, 3 - 2 * math.sqrt(2), -0.2),
    (
        "jensen_shannon",
        {},
        LOG2 - math.log(1 + 1 / E),
        math.log(1 + E) - LOG2,
        2 * LOG2 - 3 * math.log(1.5),
        -math.log(2 - math.exp(-0.25)),
    ),
    ("total_variation", {}, math.tanh(1) / 2, math.tanh(1) / 2, 0.5, -0.25),
    ("alpha", {"alpha": 2.0}, E - 1, (E * E - 1) / 2, 0.5, (0.75**2 - 1) / 2),
    ("alpha", {"alpha": 1.0}, 1.0, E - 1, 2 * LOG2 - 1, math.exp(-0.25) - 1),
    ("alpha", {"alpha": 0.0}, 1 - 1 / E, 1.0, 1 - LOG2, -math.log(1.25)),
    ("alpha", {"alpha": -1.0}, (1 - E**-2) / 2, 1 - 1 / E, 0.25, 1 - math.sqrt(1.5)),
    ("neyman", {"link": "fgan"}, 1 - 1 / E, 2 - 2 * E**-0.5, 0.5, 2 - 2 * math.sqrt(1.25)),
    ("neyman", {"link": "universal"}, 1 - E**-2, 2 - 2 / E, 0.5, 2 - 2 * math.sqrt(1.25)),
    ("jeffreys", {}, 2 - 1 / E, E, LOG2, None),
    (
        "triangular",
        {},
        1 - 4 / (1 + E) ** 2,
        4 * (E / (1 + E)) ** 2 - 1,
        1 / 3,
        4.25 - 4 * math.sqrt(1.25),
    ),
    (
        "skewed_jensen_shannon",
        {"skew": 0.25},
        -0.25 * math.log(0.25 + 0.75 / E),
        0.75 * math.log(0.25 * E + 0.75),
        0.5 * LOG2 - 1.25 * math.log(1.25),
        0.75 * math.log(0.75 / (1 - 0.25 / E)),
    ),
]


@pytest.mark.parametrize(("name", "options", "positive", "negative", "f2", "conjugate"), BY_HAND)
def test_values_by_hand(name, options, positive, negative, f2, conjugate):
    divergence = fg.get_divergence(name, **options)
    assert float(divergence.positive(t64(1.0))) == pytest.approx(positive, abs=1e-13)
    assert float(divergence.negative(t64(1.0))) == pytest.approx(negative, abs=1e-13)
    assert float(divergence.generator(t64(2.0))) == pytest.approx(f2, abs=1e-13)
    if conjugate is not None:
        assert float(divergence.conjugate(t64(-0.25))) == pytest.approx(conjugate, abs=1e-13)


def test_the_conjugate_of_jeffreys_is_lamberts():
    from scipy.special import lambertw

    s = np.linspace(-8, 6, 57)
    u = lambertw(np.exp(1 - s)).real
    values = fg.get_divergence("jeffreys").conjugate(torch.from_numpy(s))
    assert np.allclose(values.numpy(), s + u + 1 / u - 2, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "inside", "outside", "beyond"),
    [
        ("reverse_kl", {}, -1e-3, 0.0, math.inf),
        ("hellinger", {}, 0.999, 1.0, math.inf),
        ("jensen_shannon", {}, 0.69, LOG2, math.inf),
        ("total_variation", {}, 0.5, 0.51, math.inf),
        ("total_variation", {}, -0.5, -3.0, -0.5),
        ("pearson", {"conjugate": "exact"}, -2.0, -7.0, -1.0),
        ("pearson", {"conjugate": "paper"}, -2.0, -4.0, 0.0),
        ("alpha", {"alpha": 3.0}, -0.49, -0.6, -1 / 3),
        ("alpha", {"alpha": 0.5}, 1.99, 2.0, math.inf),
        ("alpha", {"alpha": -1.0}, 0.499, 0.5, 1.0),
        ("alpha", {"alpha": -1.0}, 0.5, 0.501, math.inf),
        ("alpha", {"alpha": 0.0}, 0.99, 1.0, math.inf),
        ("neyman", {}, 1.0, 1.001, math.inf),
        ("triangular", {}, 1.0, 1.001, math.inf),
        ("triangular", {}, -3.0, -5.0, -1.0),
    ],
)
def test_the_conjugate_at_the_ends_of_its_domain(name, options, inside, outside, beyond):
    divergence = fg.get_divergence(name, **options)
    assert math.isfinite(divergence.conjugate(t64(inside)))
    assert float(divergence.conjugate(t64(outside))) == pytest.approx(beyond, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "calibrated", "canonical", "slope", "limit"),
    [
        ("kl", False, True, math.inf, 30.0),
        ("reverse_kl", True, True, 0.0, 30.0),
        ("pearson", True, True, math.inf, math.inf),
        ("hellinger", True, True, 1.0, 30.0),
        ("jensen_shannon", True, True, LOG2, math.inf),
        ("total_variation", True, True, 0.5, math.inf),
        ("alpha", True, True, 2.0, 60.0),
        ("neyman", True, True, 1.0, 30.0),
        ("jeffreys", True, True, math.inf, 30.0),
        ("triangular", True, True, 1.0, math.inf),
        ("skewed_jensen_shannon", True, True, LOG2 / 2, math.inf),
    ],
)
def test_declared_properties(name, calibrated, canonical, slope, limit):
    divergence = fg.get_divergence(name)
    assert divergence.calibrated is calibrated
    assert divergence.canonical is canonical
    assert divergence.slope_at_infinity == pytest.approx(slope)
    assert divergence.guard_limit == pytest.approx(limit)


def test_the_branches_of_kl_with_fgans_link_have_different_slopes_at_the_reference():
    v = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    for link, push in (("fgan", 1 / E), ("calibrated", 1.0)):
        divergence = fg.get_divergence("kl", link=link)
        assert torch.autograd.grad(divergence.positive(v).sum(), v)[0].item() == pytest.approx(1.0)
        assert torch.autograd.grad(divergence.negative(v).sum(), v)[0].item() == pytest.approx(push)


# The alpha family equals others up to a factor: the factor, and the f to compare with (in numpy).
@pytest.mark.parametrize(
    ("alpha", "factor", "f"),
    [
        (2.0, 0.5, lambda t: (t - 1) ** 2),
        (0.5, 2.0, lambda t: (np.sqrt(t) - 1) ** 2),
        (-1.0, 0.5, lambda t: (t - 1) ** 2 / t),
        (1.0, 1.0, lambda t: t * np.log(t) - (t - 1)),
        (0.0, 1.0, lambda t: -np.log(t) + (t - 1)),
    ],
)
def test_the_alpha_family_equals_its_special_cases(alpha, factor, f):
    t = np.geomspace(1e-3, 1e3, 41)
    for order in (alpha, alpha + 1e-9, alpha - 1e-9):
        values = fg.get_divergence("alpha", alpha=order).generator(torch.from_numpy(t)).numpy()
        assert np.allclose(values, factor * f(t), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "at_zero"),
    [("kl", {}, 0.0), ("alpha", {"alpha": 0.5}, 2.0), ("alpha", {"alpha": 3.0}, 1 / 3), ("triangular", {}, 1.0)],
)
def test_the_generator_at_zero(name, options, at_zero):
    assert float(fg.get_divergence(name, **options).generator(t64(0.0))) == pytest.approx(at_zero)


@pytest.mark.parametrize("name", ["reverse_kl", "neyman", "jeffreys"])
def test_generators_that_are_infinite_at_zero(name):
    assert float(fg.get_divergence(name).generator(t64(0.0))) == math.inf


@pytest.mark.parametrize(
    ("name", "maximum"),
    [("hellinger", 2.0), ("jensen_shannon", 2 * LOG2), ("total_variation", 1.0), ("triangular", 2.0)],
)
def test_disjoint_supports_give_the_maximum(name, maximum):
    divergence = fg.get_divergence(name)
    assert float(divergence.exact(t64(0.5, 0.5, 0.0), t64(0.0, 0.0, 1.0))) == pytest.approx(maximum)


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "pearson", "jeffreys", "neyman"])
def test_disjoint_supports_give_infinity_for_the_unbounded(name):
    assert float(fg.get_divergence(name).exact(t64(1.0, 0.0), t64(0.0, 1.0))) == math.inf


def test_exact_values_of_a_coin():
    p, q = t64(0.75, 0.25), t64(0.5, 0.5)
    assert float(fg.get_divergence("kl").exact(p, q)) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert float(fg.get_divergence("pearson").exact(p, q)) == pytest.approx(0.25)
    assert float(fg.get_divergence("total_variation").exact(p, q)) == pytest.approx(0.25)


class TestGuard:
    def test_identity_inside_and_logarithmic_beyond(self):
        divergence = fg.get_divergence("kl", link="calibrated")
        v = t64(-100.0, -30.0, 3.0, 30.0, 31.0, 100.0)
        guarded = [-30 - math.log1p(70), -30, 3, 30, 30 + math.log1p(1), 30 + math.log1p(70)]
        assert divergence.positive(v).tolist() == pytest.approx([g + 1 for g in guarded])

    def test_the_slope_is_continuous_at_the_limit(self):
        divergence = fg.get_divergence("kl", link="calibrated")
        v = t64(30 - 1e-9, 30.0, 30 + 1e-9).requires_grad_(True)
        (slope,) = torch.autograd.grad(divergence.positive(v).sum(), v)
        assert slope.tolist() == pytest.approx([1, 1, 1], abs=1e-8)

    def test_the_share_beyond_is_counted(self):
        divergence = fg.get_divergence("hellinger")
        assert divergence.share_beyond_guard(t64(0.0, 29.0, -31.0, 45.0)) == 0.5
        assert divergence.share_beyond_guard(t64()) == 0.0
        assert fg.get_divergence("pearson").share_beyond_guard(t64(1e6)) == 0.0


class TestEstimate:
    P, Q = t64(0.1, 0.2, 0.3, 0.4), t64(0.4, 0.3, 0.2, 0.1)

    @pytest.mark.parametrize("name", ["kl", "reverse_kl", "pearson", "hellinger", "jensen_shannon", "alpha"])
    @pytest.mark.parametrize("drawn_from", ["policy", "reference"])
    def test_unbiased_within_its_own_error(self, name, drawn_from):
        divergence = fg.get_divergence(name)
        source = self.P if drawn_from == "policy" else self.Q
        draws = torch.multinomial(source, 40_000, replacement=True, generator=torch.Generator().manual_seed(1))
        log_ratio = (self.P / self.Q).log()[draws]
        mean, error = divergence.estimate(log_ratio, drawn_from)
        assert 0 < error < 0.05
        assert abs(mean - float(divergence.exact(self.P, self.Q))) < 4 * error

    def test_k3_of_one_sample_by_hand(self):
        mean, error = fg.get_divergence("kl").estimate(t64(LOG2))
        assert mean == pytest.approx(LOG2 + 0.5 - 1)  # log t + 1/t - 1
        assert math.isnan(error)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.floats(-30, 30), min_size=1, max_size=8))
    def test_never_negative(self, log_ratios):
        for name in ("kl", "pearson", "jensen_shannon", "total_variation"):
            for source in ("policy", "reference"):
                assert fg.get_divergence(name).estimate(t64(*log_ratios), source)[0] >= -1e-9


@settings(deadline=None)
@given(st.floats(-30, 30), st.floats(-8, 8))
def test_the_alpha_branches_against_numpy(v, alpha):
    divergence = fg.get_divergence("alpha", alpha=alpha)
    v = max(-divergence.guard_limit, min(divergence.guard_limit, v))

    def ratio(rate: float) -> float:
        return v if rate == 0 else np.expm1(rate * v) / rate

    assert float(divergence.positive(t64(v))) == pytest.approx(ratio(alpha - 1), rel=1e-12, abs=1e-12)
    assert float(divergence.negative(t64(v))) == pytest.approx(ratio(alpha), rel=1e-12, abs=1e-12)


def test_an_unknown_link_is_refused_with_the_known_ones():
    with pytest.raises(fg.ConfigError, match=r"divergence 'kl' has no link 'universl' \(did you mean 'universal'\?\)"):
        fg.get_divergence("kl", link="universl")


def test_total_variation_has_no_universal_link():
    assert fg.get_divergence("total_variation").link_names == ["fgan", "calibrated"]
