"""Risk: a wrong answer reaches the clock instead of scoring 0, or a right one is refuted by its value at a point."""

import pytest
import sympy
from judging import score_of

from fdiv_gym_mathverify.effort import excess
from fdiv_gym_mathverify.refutation import differ

X = sympy.Symbol("x", real=True)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("|x-1|", "|1-x|"), (r"\frac{1}{\sqrt{x-1}}", r"\frac{\sqrt{x-1}}{x-1}"), (r"\log_2 x", r"\frac{\ln x}{\ln 2}"),
        (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"), (r"\tan x", r"\frac{\sin x}{\cos x}"), ("(-1)^{n+1}", "-(-1)^n"),
        (r"\sqrt{x^2}", "|x|"), ("ad-bc", "-bc+da"), (r"\ln|x|+C", r"C+\ln|x|"), (r"\frac{d}{2}", "0.5d"),
        (r"d\cdot 2", "2d"), (r"\int x dx", r"\int x dx"), (r"x=3d, d \in \mathbb{Z}", r"x=3k, k \in \mathbb{Z}"),
        (r"\begin{pmatrix}a&b\\c&d\end{pmatrix}", r"\begin{pmatrix}a&b\\c&d\end{pmatrix}"),
    ],
)  # fmt: skip
def test_a_right_answer_is_not_refuted(reference, answer):
    assert score_of(reference, answer) == 1


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"\sin x+\cos x", r"\frac{x^{720}-1}{x^{36}-1}"), (r"\sin x+\cos x", r"7^{9999+9999}\cdot 7^{9999}"),
        ("x+1", "".join(rf"\cos({k}x)" for k in range(1, 12))), (r"\frac{3\sqrt{2}}{4}", "(3+4i)^{99}(5-2i)^{88}"),
        (r"\sin x+\cos x", r"\Gamma(9999)\Gamma(9998)"), ("x+1", r"(x^{\frac{1}{7}}+x^{\frac{1}{11}})^{77}"),
        ("cd+1", "cd"), ("d_1+d_2", "d_1+d_3"), (r"d\cdot 2", "d"),
        (r"\begin{pmatrix}a&b\\c&d\end{pmatrix}", r"\begin{pmatrix}d&b\\c&a\end{pmatrix}"),
    ],
)  # fmt: skip
def test_a_wrong_answer_scores_0_without_a_clock(reference, answer):
    assert score_of(reference, answer) == 0


def test_what_is_left_to_math_verify():
    assert differ(X, X + 1)
    assert not differ(X, X)
    assert not differ(X, sympy.Eq(X, 1))
    assert not differ(X, sympy.Sum(X, (X, 1, 3)))
    assert not differ(X, sympy.oo)
    assert not differ(sympy.Float("0.3333333"), sympy.Rational(1, 3))
    assert not differ(sympy.Integer(0), sympy.sin(X) ** 2 + sympy.cos(X) ** 2 - 1)
    assert not differ(sympy.Integer(0), sympy.sqrt(2) + sympy.sqrt(3) - sympy.sqrt(5 + 2 * sympy.sqrt(6)))
    assert differ(sympy.Integer(0), X)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (r"3^{9999\cdot 9999\cdot 9999}", True), ("3^{99(9999)(9999)}", True), (r"2^{3\cdot 5}", False),
        (r"\begin{pmatrix}a&b\\c&b\end{pmatrix}^{-5}", True), (r"\begin{pmatrix}a&b\\c&b\end{pmatrix}^{T}", False),
        (r"\left(\begin{bmatrix}1\\2\end{bmatrix}\right)^2", True), (r"2^{1001/1000}", False),
    ],
)  # fmt: skip
def test_products_in_exponents_and_powers_of_matrices_are_towers(answer, refused):
    assert bool(excess(answer, "x")) == refused
