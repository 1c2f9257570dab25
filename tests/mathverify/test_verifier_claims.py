"""Risk: the left side of an equation is taken for a name and its claim ignored, or a name for a claim."""

import time

import pytest
from judging import score_of

from fdiv_gym_mathverify.claims import in_order, is_name


@pytest.mark.parametrize(
    "text",
    [
        "x", "x_1", "a_{10}", "f(2)", "f(x)", "f'(3)", "f^{-1}(3)", "f(f(2))", "P(X=3)", "P(A)", "(x,y)", "m+n", "AB",
        r"\angle ABC", r"\overline{AB}", r"\sin\theta", r"\frac{a}{b}",
        "x_1+x_2", "x_1x_2", "|z|", r"\vec{a}\cdot\vec{b}", "|AB|", r"\sin A", r"\text{Area}",
        r"\text{Sum of the roots}",
        r"\text{Square area}", "V_{max}",
    ],
)  # fmt: skip
def test_names(text):
    assert is_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "7", "2x", "x+7", "x^7", "7y", "3x-4", "7, x", "a, b", "x & y", "x < y", r"x \neq y", r"x \text{ or } y",
        "x or y", r"\mathbb{R}x", r"2 \cdot x", r"x\quad y", r"x \in S", r"\pi", r"\infty",
        "f(2)x7", "x_1 7", "12_3", r"\sqrt{2}", r"\sqrt{x}", r"\log x", r"\ln x", "e^x", "x^n", "|x|", r"\sin x",
        r"\tan(x)",
        r"\text{square root}", r"\text{the square}", r"\text{half of } x", r"\text{cube roots}", r"\text{log}",
        r"\text{not } x",
    ],
)  # fmt: skip
def test_claims(text):
    assert not is_name(text)


@pytest.mark.parametrize(("text", "expected"), [("(x,y)", True), ("(y,x)", False), ("(a, b, c)", True), ("x", True)])
def test_the_order_of_names(text, expected):
    assert in_order(text) is expected


@pytest.mark.parametrize(
    "text", ["f(" * 500, "f(" + "(a" * 400, "f(" + "()" * 400, "x_" * 500, "a" * 1000, "f" + "(a)" * 300]
)
def test_hostile_sides_are_read_quickly(text):
    begun = time.process_time()
    is_name(text)
    assert time.process_time() - begun < 0.1


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("5", r"\sqrt{x} = 5", 0), ("5", r"\text{square root} = 5", 0), ("5", r"\text{square root: } 5", 0),
        ("5", "e^x=5", 0),
        ("5", r"\log x = 5", 0), ("x=5", r"\sqrt{x}=5", 0), (r"\sqrt{x}=5", "5", 0), ("5", "x = 5", 1),
        ("5", "S_n = 5", 1),
        ("5", r"\text{Area} = 5", 1), ("5", r"\text{Total: } 5", 1), ("5", r"\sqrt{25} = 5", 1), ("5", "m+n=5", 1),
        ("5", r"\text{Sum of the roots} = 5", 1), ("3", r"\log_2 8 = 3", 1), ("5", r"\angle A = 5^\circ", 1),
    ],
)  # fmt: skip
def test_a_function_of_the_value_is_no_label(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("3", r"x \approx 3", 0), ("3", r"\approx 3", 0), ("x=3", r"x \approx 3", 0), ("y=2x+1", r"y \approx 2x+1", 0),
        ("2x+1", r"f(x) \approx 2x+1", 0), ("(1,2)", r"(x,y) \approx (1,2)", 0), ("1,2", r"x \approx 1, 2", 0),
        (r"\frac12", r"x \approx \frac12", 0), (r"\sqrt{2}", r"x \approx 1.41", 0), ("x=3.14", r"y \approx 3.14", 0),
        ("3.14", r"\approx 3.15", 0), ("3.14", r"\sqrt{x} \approx 3.14", 0),
        (r"x \approx 3", r"x \approx 3", 1), (r"\approx 3", "3", 1), (r"\approx 3", r"\approx 3", 1),
        (r"x \approx 3", "3", 1),
        ("3.14", r"\approx 3.14", 1), ("3.14", r"x \approx 3.14", 1), (r"x=3.14", r"x \approx 3.14", 1),
        (r"\sqrt{2}", r"\sqrt2 \approx 1.41", 1), (r"x=\sqrt{2}", r"x=\sqrt2 \approx 1.41", 1), (r"\approx 3", "4", 0),
        (r"x \approx 3", "x = 3", 1), (r"x \approx 3", r"\approx 3", 1), (r"x \approx 3", r"y \approx 3", 0),
        (r"x \approx 3", "4", 0),
        (r"k^2, k \in \mathbb{Z}", r"x \approx k^2, k \in \mathbb{Z}", 0),
    ],
)  # fmt: skip
def test_an_approximation_is_no_equality(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("x", "x=x", 0), ("2x+1", "x=2x+1", 0), ("x^2+1", "x=x^2+1", 0), ("2x+1", "y=2x+1", 1),
        ("2x+1", "f(x)=2x+1", 1),
        ("x_0+1", "x=x_0+1", 1), (r"5 \text{ m}", "m=5", 1), (r"\max", r"x=\max", 1), ("(x+y)^2", "z=(x+y)^2", 1),
    ],
)  # fmt: skip
def test_a_name_does_not_stand_in_its_value(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("y=9x+2", r"y \in 9x+2", 0), ("9x+2", r"y \in 9x+2", 0), ("y=9x+2", r"y \equiv 9x+2", 0), ("5", r"x \in 5", 0),
        ("y=9x+2", "y=9x+2", 1), ("5", r"x \in \{5\}", 1), (r"\sqrt2", r"x \in \{\sqrt2\}", 1),
        (r"x \in A", r"x \in A", 1),
    ],
)  # fmt: skip
def test_another_relation_is_no_equality(reference, answer, score):
    assert score_of(reference, answer) == score
