"""Risk: a policy is rewarded for repeating the question, or a right answer scores 0 because it is in the question."""

import pytest

from fdiv_gym_mathverify import MathVerifier
from fdiv_gym_mathverify.echo import copies_question


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        ("What is $2^{10}$?", "1024", "2^{10}"),
        ("What is $2^{10}$?", "1024", "2^10"),
        ("What is $2^{10}$?", "1024", "x = 2^{10}"),
        ("Compute $\\binom{8}{4}$.", "70", r"\binom84"),
        ("How much is $3 \\cdot 5!$ cm?", r"360\text{ cm}", r"3 \cdot 5! \text{ cm}"),
        ("Expand $(x+1)^2$.", "x^2+2x+1", "(x+1)^{2}"),
        ("Factor $x^2-1$ over the integers.", "(x-1)(x+1)", "x^2 - 1"),
        (r"Simplify $\frac{x^2-1}{x-1}$.", "x+1", r"\dfrac{x^2-1}{x-1}"),
        ("Write $2x-y+3=0$ in slope-intercept form.", "y=2x+3", "2x-y+3=0"),
        (r"Rationalise $\frac{1}{\sqrt{2}}$.", r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt2}"),
        ("Compute $2^{10}$.", "1024", "(2)^{10}"),
        ("Compute $2^{10}$.", "1024", "+2^{10}"),
        ("Compute $2^{10}$.", "1024", "|2^{10}|"),
        ("Find $\\sqrt{144}$.", "12", r"\sqrt[2]{144}"),
        ("Find $\\log_2 8$.", "3", r"\log_2{8}"),
        ("Simplify $\\sqrt{200}$.", r"10\sqrt{2}", r"\sqrt{200}"),
        ("Solve for $y$: $2y=4x+4$.", "y=2x+2", "2y=4x+4"),
        ("Reduce $\\frac{24}{36}$.", r"\frac{2}{3}", r"\frac{24}{36}"),
        ("Write $0.375$ as a fraction.", r"\frac{3}{8}", "0.375"),
        ("Write $\\frac{3}{8}$ as a decimal.", "0.375", r"\frac38"),
        ("Solve $|x|<3$.", "(-3,3)", "|x|<3"),
    ],
)
def test_copies(question, reference, answer):
    assert copies_question(answer, reference, question)


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        ("Is 12 or 13 larger?", "13", "13"),
        ("What is $2^{10}$?", "1024", "1024"),
        ("What is $2^{10}$?", "1024", "4^5"),
        ("Which is larger, $\\sqrt{3}$ or $\\sqrt{2}+1$?", r"\sqrt{2}+1", r"\sqrt2+1"),
        ("Solve $x^2=4$ for positive x.", "x=2", "x = 2"),
        ("Which colour, red or blue?", r"\text{blue}", "blue"),
        ("Which variable, x or y, is free?", "y", "y"),
        ("Expand $(x+1)^2$.", "x^2+2x+1", "1+2x+x^2"),
        ("Add 10.375 to it, then divide by 2.", r"\frac{3}{8}", "0.375"),
        ("Which is larger, $0.5$ or $\\frac{1}{3}$?", "0.5", "0.5"),
        ("Is $\\frac{1}{2}$ or $\\frac{1}{3}$ larger?", r"\frac{1}{2}", r"\frac12"),
        ("The 3 dogs weigh 12 kg. How many are there?", "3", "3"),
        ("A rope of 1.50 m costs how much?", "1.5", "1.50"),
        ("Is $f(x)=x^2$ even, odd or neither?", "even", "even"),
        ("What is the set $\\{1, 2\\}$ without 3?", r"\{1,2\}", r"\{1, 2\}"),
        ("", "x+1", "x+1"),
    ],
)
def test_answers(question, reference, answer):
    assert not copies_question(answer, reference, question)


OPTIONS = (
    r"What is $7+9$? $\textbf{(A)}\ 15 \qquad \textbf{(B)}\ 16 \qquad \textbf{(C)}\ 17$",
    "What is 7+9?\n(A) 15\n(B) 16\n(C) 17",
)


@pytest.mark.parametrize("question", OPTIONS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [("(B) 16", False), ("B", False), ("16", False), ("(B) 15", True), (r"\text{(B) } 17", True), ("(A) 16", True)],
)
def test_a_letter_and_its_value_must_not_contradict(question, answer, expected):
    assert MathVerifier().repeats_question(question, "B", rf"\boxed{{{answer}}}") is expected
    assert MathVerifier().repeats_question(question, "16", rf"\boxed{{{answer}}}") is expected
