"""Sums and unions that are decided by their texts: what differs in the order only is equal, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdiv_gym_mathverify import worker
from fdiv_gym_mathverify.sums import same_sum
from fdiv_gym_mathverify.unions import same_union

TERMS = ["x^2", "3x", "2", "\\sin(3x)", "\\frac{1}{2}", "2\\sqrt{3}", "x(y-1)", "\\pi r^2", "4i", "a/b"]


@pytest.mark.parametrize(
    ("reference", "answer"),
    [("x^2+3x+2", "2+3x+x^2"), ("3-x^2", "-x^2+3"), ("9+2i", "2i + 9"), ("\\sin(3x)+3", "3+\\sin(3x)")],
)
def test_another_order_is_the_same_sum(reference, answer):
    assert same_sum(reference, answer) is True
    assert worker.judge([(reference, answer)])[1] == 1.0


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("x-3", "3-x"), ("x-3", "3+x"), ("x+12", "1 2+x"), ("x+1", "x+1+0"), ("x^-2+3", "3+x^-2"), ("1e-5+x", "x+1e-5"),
        ("x=1+2", "2+x=1"), ("a+b,c", "b+a,c"), ("a+b\\mod c", "b\\mod c+a"), ("|a+b|", "|b+a|"), ("x", "x"),
        ("a--b", "b--a"), ("(a+b", "b+(a"), ("x+", "+x"), ("a+b!", "b!+a"), ("a\\cdot-b+c", "c+a\\cdot-b"),
        ("\\sin -x+3", "-x+\\sin +3"), ("3+\\sin", "\\sin+3"),
    ],
)  # fmt: skip
def test_what_is_no_reordered_sum_is_left_to_the_worker(reference, answer):
    assert same_sum(reference, answer) is None


@given(st.lists(st.tuples(st.sampled_from("+-"), st.sampled_from(TERMS)), min_size=2, max_size=5), st.randoms())
def test_every_order_is_equal_and_a_changed_sign_is_not(terms, order):
    shuffled = order.sample(terms, len(terms))
    reference, answer = ("".join(sign + term for sign, term in some) for some in (terms, shuffled))
    assert same_sum(reference, answer) is True
    (sign, term), *rest = shuffled
    changed = "".join(s + t for s, t in [("-" if sign == "+" else "+", term), *rest])
    assert same_sum(reference, changed) is None


@pytest.mark.parametrize(
    ("reference", "answer", "same"),
    [
        ("(-\\infty,-2)\\cup(3,\\infty)", "(3,\\infty)\\cup(-\\infty,-2)", True),
        ("(-\\infty,-2)\\cup[3,\\infty)", "(-\\infty,-2)\\cup(3,\\infty)", False),
        ("(-\\infty,-2)\\cup(3,\\infty)", "(-\\infty,-2)\\cup(4,\\infty)", False),
        ("[0,\\frac{1}{2})\\cup(1,2]", "(1, 4/2]\\cup [0, 1/2)", True),
        ("(0,1)\\cup(2,3)\\cup(4,5)", "(0,1)\\cup(4,5)", False),
        ("(0,1)\\cup(1,2)", "(1,2)\\cup(0,1)", None),  # they touch
        ("(0,2)\\cup(1,3)", "(0,3)\\cup(5,6)", None),  # they overlap
        ("(2,1)\\cup(3,4)", "(3,4)\\cup(2,1)", None),  # empty
        ("(\\infty,1)\\cup(3,4)", "(3,4)\\cup(\\infty,1)", None),
        ("[-\\infty,1)\\cup(3,4)", "(-\\infty,1)\\cup(3,4)", None),
        ("(0,1)\\cup(2,a)", "(2,a)\\cup(0,1)", None),
        ("(0,1)\\cup(2,3 4)", "(0,1)\\cup(2,34)", None),
        ("(0,0.5)\\cup(2,3)", "(2,3)\\cup(0,0.5)", None),  # decimals are compared to six places elsewhere
        ("(0,1/0)\\cup(2,3)", "(2,3)\\cup(0,1/0)", None),
    ],
)
def test_unions_of_separate_intervals(reference, answer, same):
    assert same_union(reference, answer) is same
    if same is not None:
        assert worker.judge([(reference, answer)])[1] == float(same)
