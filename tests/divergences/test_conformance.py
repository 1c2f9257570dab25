"""Every registered divergence with every link it offers passes the kit; hypothesis drives the invariants."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fdiv_gym as fg
from fdiv_gym.testing import check_divergence

REGISTERED = [entry.name for entry in fg.list_entries("divergence") if entry.status == "ok"]
VARIANTS = [
    *[(name, {}) for name in REGISTERED],
    ("pearson", {"conjugate": "exact"}),
    *[("alpha", {"alpha": alpha}) for alpha in (-3.0, -1.0, 0.0, 0.3, 1.0, 2.0, 4.0)],
    *[("skewed_jensen_shannon", {"skew": skew}) for skew in (0.01, 0.3, 0.9)],
]
CASES = [
    pytest.param(name, {**options, "link": link}, id=f"{name}-{link}-{'-'.join(map(str, options.values()))}")
    for name, options in VARIANTS
    for link in fg.get_divergence(name, **options).link_names
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_conformance(name, options):
    report = check_divergence(fg.get_divergence(name, **options))
    assert report.ok, report.text()


def test_the_sweep_covers_core_and_plugin():
    assert {"kl", "total_variation", "alpha", "jeffreys", "from_generator"} <= set(REGISTERED)


quick = settings(max_examples=25, deadline=None)
numbers = st.floats(-100, 100, allow_nan=False)
weights = st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4)


@pytest.mark.parametrize(("name", "options"), CASES)
class TestInvariants:
    @quick
    @given(v=st.lists(numbers, min_size=1, max_size=20))
    def test_branches_and_gradients_stay_finite(self, name, options, v):
        divergence = fg.get_divergence(name, **options)
        for dtype in (torch.float32, torch.bfloat16):
            leaf = torch.tensor(v, dtype=dtype, requires_grad=True)
            total = divergence.positive(leaf).sum() + divergence.negative(leaf).sum()
            (gradient,) = torch.autograd.grad(total, leaf)
            assert bool(total.isfinite())
            assert bool(gradient.isfinite().all())

    @quick
    @given(p=weights, q=weights, v=st.lists(st.floats(-5, 5), min_size=4, max_size=4))
    def test_no_critic_exceeds_the_divergence(self, name, options, p, q, v):
        divergence = fg.get_divergence(name, **options)
        p, q, v = (torch.tensor(x, dtype=torch.float64) for x in (p, q, v))
        p, q = p / p.sum(), q / q.sum()
        bound = (p * divergence.positive(v)).sum() - (q * divergence.negative(v)).sum()
        exact = divergence.exact(p, q)
        assert exact >= -1e-12
        assert bound <= exact + 1e-9 * (1 + bound.abs())

    @quick
    @given(low=st.floats(-30, 30), step=st.floats(1e-3, 10))
    def test_both_branches_rise(self, name, options, low, step):
        divergence = fg.get_divergence(name, **options)
        low = max(low, divergence.link_in_use.negative_from)
        v = torch.tensor([low, low + step], dtype=torch.float64)
        for branch in (divergence.positive, divergence.negative):
            values = branch(v)
            assert float(values[1] - values[0]) >= -1e-12 * float(values.abs().max())
