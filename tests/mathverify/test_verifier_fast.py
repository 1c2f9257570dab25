"""Risk: the fast path decides wrongly, slowly, or differently from the worker."""

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdiv_gym_mathverify import fast, worker
from fdiv_gym_mathverify.fast import decide, parse_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("-7", -7),
        ("+7", 7),
        ("007", 7),
        ("1,234", 1234),
        ("1,234,567.5", Fraction(2469135, 2)),
        ("10 000", 10000),
        (".5", Fraction(1, 2)),
        ("2.50", Fraction(5, 2)),
        ("3/4", Fraction(3, 4)),
        ("-3 / 4", Fraction(-3, 4)),
        (r"\frac{1}{2}", Fraction(1, 2)),
        (r"\frac12", Fraction(1, 2)),
        (r"-\frac{-2}{3}", Fraction(2, 3)),
    ],
)
def test_number_literals(text, value):
    number = parse_number(text)
    assert number is not None
    assert number.value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "--5",
        "1,23",
        "1,2345",
        "1 2",
        "1.2.3",
        "1/0",
        r"\frac{1}{0}",
        "x",
        "٣",
        "1e5",
        "5.",
        "1" * 41,
        "0x10",
        "1_0",
    ],
)
def test_other_texts_are_left_to_the_worker(text):
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("reference", "answer", "same"),
    [
        ("5", "5.0", True),
        ("0.5", "1/2", True),
        ("5", "6", False),
        ("1/3", "0.33", False),
        ("1/3", "0.333333", None),
        ("0.1234567", "0.1234571", None),
        ("5", "x", None),
        ("12345678901234567890", "12345678901234567891", False),
    ],
)
def test_decisions(reference, answer, same):
    assert decide(reference, answer) is same


def test_hostile_numbers_are_decided_quickly():
    start = time.perf_counter()
    for text in ("9" * 1_000_000, "1," * 500_000, "-" * 1_000_000, "1 " * 500_000, r"\frac{" + "1" * 1_000_000):
        assert parse_number(text) is None
    assert time.perf_counter() - start < 0.5


WHOLE = st.integers(-(10**12), 10**12)
INTEGERS = WHOLE.map(str)
GROUPED = st.integers(0, 10**9).map(lambda n: f"{n:,}")
DECIMALS = st.builds(lambda n, d: f"{n}.{d}", st.integers(-99999, 99999), st.integers(0, 99999))
FRACTIONS = st.builds(lambda n, d: rf"\frac{{{n}}}{{{d}}}", st.integers(-999, 999), st.integers(1, 999))
SLASHED = st.builds(lambda n, d: f"{n}/{d}", st.integers(0, 999), st.integers(1, 999))
NUMBERS = st.one_of(INTEGERS, GROUPED, DECIMALS, FRACTIONS, SLASHED)


def spellings(text: str) -> list[str]:
    number = parse_number(text)
    assert number is not None
    value = number.value
    found = [text, f"{value.numerator}/{value.denominator}" if value >= 0 else text]
    found.append(rf"\frac{{{value.numerator}}}{{{value.denominator}}}")
    if value.denominator == 1:
        found += [str(value.numerator), f"{value.numerator:,}", f"{value.numerator}.0"]
    return found


@settings(max_examples=150, deadline=None)
@given(NUMBERS, st.data())
def test_both_paths_agree(reference, data):
    answer = data.draw(st.one_of(NUMBERS, st.sampled_from(spellings(reference))))
    same = decide(reference, answer)
    if same is not None:
        assert worker.judge([(reference, answer)])[:2] == ("scored", float(same))


def test_the_undecided_band_is_as_wide_as_the_rounding():
    for steps in range(-40, 41):
        answer = f"{0.5 + steps * 1e-7:.8f}"
        same = fast.decide("0.5", answer)
        slow = worker.judge([("0.5", answer)])[1]
        assert same is None or float(same) == slow, answer
