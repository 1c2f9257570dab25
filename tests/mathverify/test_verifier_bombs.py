"""Risk: a policy leaves a group by an answer that reaches the clock instead of scoring 0."""

import pytest

from fdiv_gym_mathverify.effort import effort, excess
from fdiv_gym_mathverify.verifier import MathVerifier

BOMBS = {
    "tower of powers": "9^{9^{9^{9}}}",
    "tower in brackets": "((((9^{9})^{999})^{99})^{99})^{99}",
    "tower of fractions": r"2^{\frac{9^{99}}{3}}",
    "tower through a root": r"2^{\sqrt{9^{999}}}",
    "tower through a letter": "x^{x^{x^{x^{9999}}}}",
    "power of a sum": "(1+9)^{9999}^{9}",
    "product of powers": "9999^{9999}" * 8,
    "chain of powers": "((2^{100})^{100})^{100}",
    "huge factorial": "1000000000!",
    "nested factorials": "((5!)!)!",
    "double factorial marks": "9!!!!",
    "power of a factorial": "(9999!)^{9999}",
    "sum of factorials": "+".join(f"{9000 + k}!" for k in range(80)),
    "huge binomial": r"\binom{1000000000}{500000000}",
    "power of a binomial": r"\binom{9999}{4999}^{9999}",
    "nested binomials": r"\binom{\binom{99}{49}}{\binom{98}{48}}",
    "huge sum": r"\sum_{k=1}^{1000000000} \frac{1}{k^k}",
    "sum of sums": r"\sum_{a=1}^{999}\sum_{b=1}^{999}\sum_{c=1}^{999} a^{b}",
    "huge product": r"\prod_{k=1}^{100000} (x+k)",
    "infinite sum": r"\sum_{k=1}^{\infty} \frac{\sin(k^3)}{k^3+k!}",
    "integral": r"\int_0^1 \int_0^1 e^{x^2 y^3} \sin(x^y) dx dy",
    "nested integrals": r"\int_0^1 x^{\int_0^1 y^{\int_0^1 z^{z} dz} dy} dx",
    "limit": r"\lim_{n\to\infty} \frac{n!}{n^n} \sum_{k=1}^{n} \frac{n^k}{k!}",
    "nested limits": r"\lim_{x\to 0} \lim_{y\to 0} \frac{\sin(x^y)-x^{\sin y}}{x^{y^{x}}}",
    "10 000 nested brackets": "(" * 10_000 + "1" + ")" * 10_000,
    "nested roots": r"\sqrt{2+" * 19 + "2" + "}" * 19,
    "nested roots of letters": r"\sqrt{x+" * 19 + "x" + "}" * 19,
    "nested fractions": r"\frac{1}{x+" * 18 + "x" + "}" * 18,
    "nested sines": r"\sin(" * 19 + "x" + ")" * 19,
    "nested absolute values": "|x-" * 30 + "1" + "|" * 30,
    "long decimal": "0." + "1234567890" * 90,
    "long decimals added": "+".join("0." + "123456789" * 20 for _ in range(5)),
    "a megabyte of digits": "7" * 1_000_000,
    "many variables": "(" + "+".join("abcdefghijklmnopqrstuvwxyz") + ")^{30}",
    "many variables, product": "".join(f"(a+{c})" for c in "bcdfghjklmnopqrstuvwxyz") * 3,
    "(x+1)^10000": "(x+1)^{10000}",
    "(x+y+z+w)^200": "(x+y+z+w)^{200}",
    "product of many factors": "".join(f"(x^{k}+{k}x+1)^{{9}}" for k in range(2, 60)),
    "big matrix": r"\begin{pmatrix}"
    + r"\\".join("&".join(f"x^{{{i * j}}}" for j in range(9)) for i in range(9))
    + r"\end{pmatrix}",
    "matrix to a power": r"\begin{pmatrix}1&1\\1&0\end{pmatrix}^{9999}",
    "determinant": r"\det\begin{pmatrix}"
    + r"\\".join("&".join("abcdefgh"[(i + j) % 8] + f"^{i}" for j in range(8)) for i in range(8))
    + r"\end{pmatrix}",
    "inverse of a matrix": r"\begin{pmatrix}"
    + r"\\".join("&".join("abcdefgh"[(i * j) % 8] for j in range(7)) for i in range(7))
    + r"\end{pmatrix}^{-1}",
    "root of a huge number": r"\sqrt[9999]{" + "7" * 190 + "}",
    "roots of huge numbers": "+".join(rf"\sqrt[{k}]{{{'7' * 60}}}" for k in range(90, 103)),
    "root of a large semiprime": r"\sqrt{"
    + "1522605027922533360535618378132637429718068114961380688657908494580122963258952897654000350692006139" * 1
    + "}",
    "mod tower": r"9^{9^{9}} \bmod 1000000007",
    "mod of a power": r"7^{9999} \bmod (3^{9999})",
    "gcd of huge numbers": r"\gcd(9999!, 9998!)",
    "many list items": ",".join(rf"\sqrt{{{k}}}+x^{k}" for k in range(2, 70)),
    "a long set": r"\{" + ",".join(rf"\sin({k})^{k}" for k in range(2, 70)) + r"\}",
    "many signs": r"\pm 1" * 60,
    "union of many intervals": r"\cup".join(f"({k},{k}.5)" for k in range(90)),
    "logarithm of a tower": r"\log_2(2^{2^{2^{2^{9}}}})",
    "trigonometric power": r"\sin(x)^{999}\cos(x)^{999}\tan(x)^{999}",
    "power of an exponential": r"(e^{x}+e^{-x})^{999}-(e^{-x}+e^{x})^{998}",
    "irrational powers": r"(\sqrt{2}+\sqrt{3}+\sqrt{5}+\sqrt{7}+\sqrt{11})^{99}",
    "denominators of roots": r"\frac{1}{\sqrt2+\sqrt3+\sqrt5+\sqrt7+\sqrt{11}+\sqrt{13}+\sqrt{17}+\sqrt[3]{19}}",
    "sum of many roots": "+".join(rf"\sqrt{{{k}}}" for k in range(2, 100)),
    "sum of many fractions": "+".join(rf"\frac{{1}}{{x^{{{k}}}+{k}}}" for k in range(2, 50)),
    "equation of degree 99": "x^{99}+x^{98}y+y^{97}=x^2y^{50}+1",
    "system of equations": ",".join(f"{c}^{{9}}+x^{{7}}={i}" for i, c in enumerate("abcdefgh")),
    "inequality of high degree": "x^{99}-x^{50}+x^{3}-7>0",
    "1+1+1": "1+" * 490 + "1",
    "alternating nested powers": "2^{x}^{2^{x}^{2^{x}}}",
    "scientific notation": "1e9999",
    "floor of a tower": r"\lfloor 9^{9999}/7 \rfloor",
    "complex power": r"(1+2i)^{9999}",
    "arctangents": "+".join(rf"\arctan(\frac{{1}}{{{k}}})" for k in range(2, 60)),
    "absolute values": "+".join(f"|x-{k}|" for k in range(2, 120)),
}

REFERENCES = ("7", "x+1", r"\{1,\sqrt{2}\}", "x^2+1=0", "(-1,1)", r"3\sqrt{2}+\sqrt[3]{5}", r"e^{x^2}")
VERIFIER = MathVerifier()


LEFT = {
    "chain of powers", "long decimals added", "matrix to a power", "root of a huge number", "roots of huge numbers",
    "root of a large semiprime", "denominators of roots", "equation of degree 99", "scientific notation",
}  # fmt: skip
"""Bombs that are within the limits for some references; the workers finish them."""


def test_there_are_bombs_of_many_kinds():
    assert len(BOMBS) >= 60
    assert set(BOMBS) > LEFT


@pytest.mark.parametrize("name", sorted(set(BOMBS) - LEFT))
def test_a_bomb_scores_0_without_a_clock(name):
    for reference in REFERENCES:
        assert VERIFIER.plan(reference, f"\\boxed{{{BOMBS[name]}}}").score == 0.0


@pytest.mark.slow
def test_at_most_two_of_35_bombs_reach_the_clock():
    with MathVerifier(workers=2) as verifier:
        for reference in REFERENCES:
            boxes = [f"\\boxed{{{bomb}}}" for bomb in BOMBS.values()]
            verdicts = verifier.verify_batch([reference] * len(boxes), boxes)
            assert all(verdict.score in (0.0, None) for verdict in verdicts)
            assert sum(verdict.score is None for verdict in verdicts) <= len(boxes) * 2 // 35


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("x+1", "1+x"), ("x+1", r"\frac{x^2-1}{x-1}"), ("(x+1)^{200}", "(1+x)^{200}"), ("x^{50}-1", "(x^{25}-1)(x^{25}+1)"),  # noqa: E501
        (r"\sqrt{2+\sqrt{2+\sqrt{2}}}", r"\sqrt{2+\sqrt{\sqrt{2}+2}}"), ("10!", "3628800"), ("3628800", "10!"),
        ("2^{1000}", "4^{500}"), (r"\binom{40}{20}", "137846528820"), ("e^{x^2}", r"e^{x \cdot x}"), ("|x-1|", "|1-x|"),
        (r"e^{e^{x^2}}", r"e^{e^{x\cdot x}}"), ("(x+y)^{10}", "(y+x)^{10}"), ("720", "6!"),
        (r"\frac{(n+1)!}{2}", r"\frac{1}{2}(n+1)!"), ("x^{n+1}", "x^{1+n}"), ("2^{x+3}", r"8 \cdot 2^{x}"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&\frac{8}{2}\end{pmatrix}"),
    ],
)  # fmt: skip
def test_an_ordinary_answer_is_within_the_limits(reference, answer):
    assert excess(answer, reference) == ""


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("1+" * 100 + "1", "signs"), ("((((((((x))))))))", "brackets"), ("x^{x^{x^{x}}}", "exponents"),
        ("|x|" * 5, "bars"), (r"\sin x+" * 13 + "1", "functions"), ("(a+b+c+d)^{40}", "expansion"),
        ("9999!+9999!+9999!", "digits"), ("(999!)^{999}", "digits"), ("((3!)!)!", "towers"), ("3!!!", "towers"),
        (r"2^{\frac{9^{99}}{3}}", "towers"), ("2^{9^{99}+x}", "towers"), (r"\binom{\binom{9}{4}}{3}", "towers"),
        ("x^{2}^{9}", "towers"),
    ],
)  # fmt: skip
def test_what_is_counted(answer, reason):
    assert reason in excess(answer, "x")


def test_the_limits_grow_with_the_reference():
    for text in ("1+" * 100 + "1", "x^{x^{x^{x}}}", "(a+b+c+d)^{40}", "((3!)!)!", r"2^{9^{99}+x}"):
        assert excess(text, "x")
        assert not excess(text, text)


def test_the_counts_take_linear_time():
    for piece in ("(", "^{", "x^2", "9!", "(x+y)^{9}", r"\sqrt{2}", r"\binom{"):
        text = piece * (1000 // len(piece))
        assert effort(text).size >= 0
