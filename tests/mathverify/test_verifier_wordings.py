"""Risk: words around a right answer are refused, or words that change it are paid."""

import pytest
from judging import score_of

from fdiv_gym_mathverify import MathVerifier
from fdiv_gym_mathverify.wordings import in_mathematics


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("18", r"\text{The answer is } 18", 1), ("18", r"\text{Answer: } 18", 1), ("18", "The answer is 18", 1),
        ("18", r"\text{Thus, the final answer is: } 18", 1), ("18", r"\text{The answer is 18}", 1),
        ("18", r"\text{The answer is } = 18", 1), (r"\text{ellipse}", r"\text{The answer is ellipse}", 1),
        ("18", r"\text{The answer is not } 18", 0), ("18", r"\text{The answer is } 19", 0),
        ("18", r"\text{The answer is } 18 \text{ or } 19", 0), ("18", r"\text{The answer is maybe } 18", 0),
        ("18", r"\text{The wrong answer is } 18", 0), ("18", r"\text{The answer is } \text{The answer is } 18", 0),
        ("18", r"\text{The answer is }", 0), ("-18", r"\text{The answer is } 18", 0),
        ("5", r"x \text{ is } 5", 1), ("5", r"\text{The value of } x \text{ is } 5", 1),
        ("5", r"3 \text{ is } 5", 0), ("5", r"x \text{ is not } 5", 0),
        ("5", r"\text{The value of } 2x \text{ is } 5", 0),
        ("5", r"x \text{ is } 6", 0), ("5", r"\text{Estimate: } 5", 0), ("5", r"\text{upper bound} = 5", 0),
        ("5", r"\text{could be: } 5", 0), ("5", r"\text{close to: } 5", 0),
        ("5", r"\text{Square of the number} = 5", 0),
        ("5", r"\text{Maximum value} = 5", 1), ("5", r"\text{Number of ways: } 5", 1),
        ("5", r"5 \text{ steps too low}", 0),
        ("(2,3)", r"\text{Point } (2,3)", 1), ("(2,3)", r"\text{the point } (2,3)", 1),
        ("(2,3)", r"\text{Vertex: } (2,3)", 1), (r"\text{Point } (2,3)", "(2,3)", 1),
        ("(2,3)", r"\text{Point } (3,2)", 0), ("(2,3)", r"\text{Not the point } (2,3)", 0),
        ("(2,3)", r"\text{Point } (2,3) \text{ or } (3,2)", 0), ("6", r"\text{Point } (2)(3)", 0),
        ("(2,3)", r"\{(2,3)\}", 1), (r"\{(2,3)\}", "(2,3)", 1), ("(2,3)", r"\{(3,2)\}", 0), ("(2,3)", r"\{2,3\}", 0),
        ("(2,3)", r"\{(2,3),(3,2)\}", 0), (r"\{2,3\}", r"\{(2,3)\}", 0), (r"(-\infty,3)", r"\{(-\infty,3)\}", 0),
        (r"\text{ellipse}", r"\text{an ellipse}", 1), (r"\text{an ellipse}", r"\text{Ellipse}", 1),
        (r"\text{ellipse}", r"\text{not an ellipse}", 0), (r"\text{ellipse}", r"\text{a circle}", 0),
        (r"\text{third}", r"\text{a third}", 0), (r"\text{ellipse}", r"\text{an ellipse or a circle}", 0),
    ],
)  # fmt: skip
def test_words_that_introduce(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("5", r"\text{five}", 1), ("5", "five", 1), ("5", r"\text{Five}", 1), ("0", r"\text{zero}", 1),
        ("25", r"\text{twenty-five}", 1), ("25", r"\text{twenty five}", 1), ("100", r"\text{one hundred}", 1),
        ("40", r"\text{forty}", 1), (r"\text{five}", "5", 1), ("5", r"\text{five.}", 1),
        ("5", r"\text{five or six}", 0), ("5", r"\text{six}", 0), ("5", r"\text{fifth}", 0),
        ("5", r"\text{not five}", 0),
        ("-5", r"\text{five}", 0), ("5", r"\text{fives}", 0), ("13", r"\text{ten three}", 0),
        ("30", r"\text{twenty ten}", 0),
        ("12", r"\text{two hundred}", 0), ("5", r"\text{five}x", 0), ("25", r"\text{five-twenty}", 0),
        ("15", r"15^{\text{th}}", 1), ("15", r"15\text{th}", 1), ("15", "15^{th}", 1), ("15", "15th", 1),
        ("21", r"21^{\text{st}}", 1), ("22", r"22^{nd}", 1), ("111", r"111^{\text{th}}", 1),
        (r"15^{\text{th}}", "15", 1),
        ("15", r"16^{\text{th}}", 0), ("15", "15^{n}", 0), (r"\frac{1}{15}", r"15^{\text{th}}", 0),
        ("15", r"15^{\text{nd}}", 0), ("11", r"11^{\text{st}}", 0), ("15", "15^{ht}", 0),
        ("8:00 AM", "8 a.m.", 1), (r"8 \text{ a.m.}", r"8{:}00\text{ a.m.}", 1), (r"\text{8 a.m.}", "8:00 AM", 1),
        (r"8:00 \text{ a.m.}", "08:00 am", 1), (r"\text{noon}", r"12:00 \text{ p.m.}", 1),
        ("12:00 PM", r"\text{noon}", 1),
        ("12:00 AM", r"\text{noon}", 0), (r"8:00 \text{ a.m.}", r"8:00 \text{ p.m.}", 0), ("8:00 AM", "8:30 AM", 0),
        ("8:00 AM", "8:00", 0), ("8:00 AM", "8", 0), ("8:00 AM", "8:00 AM or 9:00 AM", 0), ("8", "8 AM", 0),
        ("8:00 PM", "20:00", 0), ("8:00 AM", "800 AM", 0),
    ],
)  # fmt: skip
def test_numbers_in_words_and_times(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("1:2:3", "2:4:6", 1), ("1:2:3", r"\frac12:1:\frac32", 1), ("1:2:3", "2:4:5", 0), ("1:2:3", "3:2:1", 0),
        ("1:2:3", "1:2:3:4", 0), ("1:2:3", "0:0:0", 0), ("1:2:3", "2:4:6x", 0), ("2:30:15", "4:60:30", 0),
        ("1:2", "2:4", 1), ("1:2", "2:1", 0),
        ("5", "m+n=5", 1), ("5", "m+n=6", 0), ("5", "2m+n=5", 0), ("5", "m+n+1=5", 0), ("5", "5=m+n+1", 0),
        ("m+n=5", "p+q=5", 0),
        ("1,2", "x=1, x=2", 1), ("1,2", r"x=1 \text{ or } x=2", 1), ("1,2", "x_1=1, x_2=2", 1), ("1,2", "x=1, x=3", 0),
        ("1,2", "x=1", 0), ("1,2", "x=1, x=2, x=3", 0), ("(1,2)", "x=2, y=1", 0), ("a=1,b=2", "b=2,a=1", 1),
        ("a=1,b=2", "a=2,b=1", 0),
    ],
)  # fmt: skip
def test_ratios_and_names(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("18", r"\boldsymbol{18}", 1), (r"\frac34", r"\mathbf{\frac{3}{4}}", 1), ("18", r"\boldsymbol{\$18}", 1),
        ("18", r"\mathbf{x}18", 0), ("18", r"\boldsymbol{19}", 0),
        ("18", "= 18", 1), ("18", "=-18", 0), ("18", "`18`", 1), (r"-\frac34", "(-3/4)", 1), (r"-\frac34", "(3/4)", 0),
        (r"12\pi", "12 pi", 1), (r"12\pi", "12*pi", 1), (r"\frac{\pi}{2}", r"\frac{pi}{2}", 1), (r"12\pi", "12 pie", 0),
        (r"12\pi", "12 p", 0), ("12", "12 pi", 0),
        (r"\frac34", r"\frac34 \text{ or } 0.75", 1), (r"\frac34", r"\frac34 \text{ or } 0.76", 0),
        (r"\frac34", r"\frac34 \text{ and } 0.75", 0), ("5", r"5 \text{ or } 10/2", 0),
        ("1,2", r"\text{1 and 2}", 1), ("1,2,3", r"\text{1, 2, and 3}", 1), ("1,2", r"\text{1 and 3}", 0),
        ("1", r"\text{1 or 2}", 0), ("12", r"\text{1, 2}", 0),
        ("18", r"\text{Total: 18 eggs}", 1), ("18", r"\text{Total eggs: 18}", 1), ("18", r"\text{Not: 18 eggs}", 0),
        ("18", r"\text{Total: 18 dozen}", 0), ("18", r"\text{Total: 18 or 19}", 0),
        ("18", r"18 \text{ of Janet's eggs}", 1), ("18", r"\$18 \text{ at the farmers' market}", 1),
        ("18", r"18 \text{ aren't eggs}", 0), ("18", r"18 \text{ isn't}", 0), ("18", r"18' \text{ eggs}", 0),
        ("18", r"18 \text{ T-shirts}", 1), ("18", r"18 \text{ push-ups}", 1), ("18", r"18 \text{ up}", 0),
        ("18", r"18 \text{ eggs are left}", 1), ("18", r"18 \text{ eggs are broken or lost}", 0),
        ("18", r"18 \text{ positive integers}", 1), ("18", r"18 \text{ ordered pairs}", 1),
        ("18", r"18 \text{ pairs}", 0),
        ("18", r"18 \text{ negative}", 0), ("18", r"18 \text{ complex}", 0), ("18", r"18 \text{ goldfish}", 1),
        ("18", r"\$18/\text{day}", 1), ("18", r"\$18\text{/day}", 1), ("18", r"18/\text{two}", 0), ("18", "18/d", 0),
        (r"50\%", r"50\% \text{ of the students}", 1), (r"50\%", r"50 \text{ students}", 0),
        (r"50\%", r"50\% \text{ more than before}", 0), (r"50\%", r"5\% \text{ of the students}", 0),
        (r"[0,5)", r"\text{Domain: } [0,5)", 1), (r"[0,5)", r"\text{Domain: } [0,5]", 0),
        (r"\text{Monday}", r"\text{It is Monday}", 1), (r"\text{Monday}", r"\text{on Monday}", 1),
        (r"\text{Monday}", r"\text{It is not Monday}", 0), (r"\text{Monday}", r"\text{before Monday}", 0),
        (r"\text{does not exist}", r"\text{DNE}", 1), (r"\text{DNE}", r"\text{The limit does not exist}", 1),
        (r"\text{does not exist}", "0", 0), (r"\text{does not exist}", r"\infty", 0),
        (r"\infty", r"\text{infinity}", 1), (r"\infty", r"\text{negative infinity}", 0),
        (r"-\infty", r"\text{infinity}", 0),
    ],
)  # fmt: skip
def test_how_chat_models_write(reference, answer, score):
    assert score_of(reference, answer) == score


def test_a_strict_verifier_reads_no_words():
    for reference, answer in (("5", r"\text{five}"), ("18", r"\text{The answer is } 18"), ("8:00 AM", "8 a.m.")):
        assert MathVerifier(strict=True).plan(reference, rf"\boxed{{{answer}}}").score == 0.0


@pytest.mark.parametrize(
    "text", [r"\text{is}" * 140, r"\text{" * 160, "the answer is " * 70, r"\text{   " * 100, "1" * 999]
)
def test_hostile_words_end(text):
    assert isinstance(in_mathematics(text), str)
