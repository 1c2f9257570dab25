"""Scores of pairs: skew-symmetric and zero on the diagonal exactly, at any scale."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from fdiv_gym_gprl.scores import group_scores, pair_scores, preference

DTYPES = (torch.float32, torch.float64)


def test_by_hand():
    a, b = torch.tensor([1.0, 2.0, 0.0, 1.0]), torch.tensor([3.0, 5.0, -2.0, 4.0])
    # 1*5 - 2*3 = -1 and 0*4 - 1*(-2) = 2
    assert pair_scores(a, b).tolist() == [-1.0, 2.0]
    assert float(preference(torch.tensor([0.5, 2.0]), pair_scores(a, b))) == 3.5


def test_pinned_coordinates_are_bradley_terry():
    u = torch.tensor([[0.25, 1.0], [-1.5, 1.0]])
    assert float(pair_scores(u[0], u[1])) == 1.75


number = {d: st.floats(allow_nan=False, allow_infinity=False, width=w) for d, w in zip(DTYPES, (32, 64), strict=True)}


@pytest.mark.parametrize("dtype", DTYPES)
def test_skew_symmetry_is_exact_at_any_scale(dtype):
    @settings(max_examples=200, deadline=None)
    @given(st.lists(number[dtype], min_size=4, max_size=4), st.lists(number[dtype], min_size=4, max_size=4))
    def check(left, right):
        a, b = torch.tensor(left, dtype=dtype), torch.tensor(right, dtype=dtype)
        forward, backward = pair_scores(a, b), pair_scores(b, a)
        assert not bool(forward.isnan().any())
        assert torch.equal(forward, -backward)
        assert torch.equal(pair_scores(a, a), torch.zeros(2, dtype=dtype))

    check()


@pytest.mark.parametrize("exponent", [-60, -20, 0, 20, 60])
def test_values_scale_by_powers_of_two_exactly(exponent):
    a, b = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(1))
    expected = a[:, 0::2].double() * b[:, 1::2].double() - a[:, 1::2].double() * b[:, 0::2].double()
    torch.testing.assert_close(pair_scores(a, b).double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(pair_scores(a * 2.0**exponent, b), pair_scores(a, b) * 2.0**exponent)


def test_half_precision_is_computed_in_fp32():
    a, b = torch.randn(2, 4, generator=torch.Generator().manual_seed(2)).bfloat16()
    found = pair_scores(a, b)
    assert found.dtype == torch.float32
    assert torch.equal(found, pair_scores(a.float(), b.float()))


def test_the_gradient_is_that_of_the_bilinear_form():
    a, b = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert torch.autograd.gradcheck(pair_scores, (a.requires_grad_(), b.requires_grad_()))


@pytest.mark.parametrize(("left", "right"), [(4, 6), (3, 3)])
def test_dimensions_that_do_not_fit_are_refused(left, right):
    with pytest.raises(ValueError, match="even last dimensions"):
        pair_scores(torch.zeros(left), torch.zeros(right))


def test_group_scores_add_up_to_zero_and_have_no_value_alone():
    group = torch.randn(5, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = group_scores(group)
    others = [pair_scores(group[2], group[j]) for j in (0, 1, 3, 4)]
    torch.testing.assert_close(found[2], torch.stack(others).mean(0), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.sum(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-14)
    assert bool(group_scores(group[:1]).isnan().all())
