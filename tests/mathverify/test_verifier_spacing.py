"""Risk: white space merges two numbers, or separates the thousands of one."""

import pytest
from judging import score_of

from fdiv_gym_mathverify.spacing import closed_up, side_by_side
from fdiv_gym_mathverify.surds import same_surd


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"12\sqrt{3}", r"1 2\sqrt{3}"), (r"3\sqrt{12}", r"3\sqrt{1 2}"), (r"12\pi", r"1 2\pi"),
        (r"12\pi/5", r"1 2\pi/5"),
        ("12/3", "1 2/3"), (r"\frac{12}{5}", r"\frac{1 2}{5}"), ("12x+1", "1 2 x+1"), ("x^{12}", "x^{1 2}"),
        ("12", r"1\,2"),
        ("12", r"1\;2"), ("12", "1~2"), ("12.5", "1 2.5"), ("1.25", "1 .25"), ("1.25", "1. 25"), ("(12,3)", "(1 2,3)"),
        ("12,3", "1 2,3"), (r"\{12,13\}", r"\{1 2,13\}"), (r"\{3,5\}", r"\{1 2,5\}"), ("[12,13]", "[1 2,13]"),
        ("12:3", "1 2:3"),
        (r"\{12\sqrt3,1\}", r"\{1 2\sqrt3,1\}"), ("132_8", "1 32_8"), ("132_8", r"1\,32_8"), ("12!", "1 2!"),
        (r"12\%", r"1 2\%"),
        (r"12 \text{ R } 3", r"1 2 \text{ R } 3"), (r"12\text{ cm}", r"1 2\text{ cm}"), (r"\log_2 12", r"\log_2 1 2"),
        (r"(-\infty,12)\cup(13,\infty)", r"(-\infty,1 2)\cup(13,\infty)"), (r"\binom{12}{3}", r"\binom{1 2}{3}"),
        ("1234", "12 34"), ("12345", "1 2345"), ("1234567", "1234 567"),
    ],
)  # fmt: skip
def test_numbers_side_by_side_are_not_one(reference, answer):
    assert score_of(reference, answer) == 0.0


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"12\sqrt{3}", r"12 \sqrt 3"), (r"3\sqrt{2}", r"3 \sqrt 2"), (r"12\pi", r"12 \pi"), (r"\frac{5}{3}", "1 2/3"),
        (r"1\frac{2}{3}", "1 2/3"), ("12000", "12 000"), ("12000", r"12\,000"), ("1234567", r"1\,234\,567"),
        ("12x", "12 x"),
        ("(1234,5)", "(1 234, 5)"), (r"\log_2 8+1", r"1+\log_2 8"), (r"2\log_2 3", r"2 \log_2 3"),
        (r"\frac{1}{2}", r"\frac 1 2"),
        (r"\binom{5}{2}", r"\binom 5 2"), ("10101101_2", r"1010\,1101_2"), (r"2 \text{ R } 3", "2R3"),
        ("0.123456", r"0.123\,456"),
    ],
)  # fmt: skip
def test_other_spaces_have_no_meaning(reference, answer):
    assert score_of(reference, answer) == 1.0


def test_the_gaps_of_a_text():
    assert [side_by_side(text) for text in ("1 2", "1 2 3", "12 000", r"\log_2 8", "1 .5", "x_1 2", "1, 2")] == [
        1, 2, 0, 0, 1, 1, 0,
    ]  # fmt: skip


def test_groups_of_digits():
    assert [closed_up(text) for text in ("1 234", "1010 1101", "1 32", "12 34")] == [
        "1234",
        "10101101",
        "1 32",
        "12 34",
    ]


def test_surds_do_not_merge_numbers():
    assert same_surd(r"12\sqrt{3}", r"1 2\sqrt{3}") is None
    assert same_surd(r"12\sqrt{3}", r"12 \sqrt {3}") is True
