"""Risk: the parser reads R as r and an angle in degrees as one in radians, and a wrong answer is paid."""

import pytest
from judging import score_of


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("R-r", "R-r", 1), ("R-r", "r-R", 0), ("R-r", "0", 0), ("a+A", "2a", 0), ("aA", "a^2", 0), ("n^2", "N^2", 0),
        (r"\pi R^2-\pi r^2", r"\pi(R-r)(R+r)", 1), (r"2\pi r", r"2\pi R", 0), ("3n", "3N", 0), ("2Rr", "2rR", 1),
        (r"\theta", r"\Theta", 0), ("x", "X", 0), (r"\Delta", r"\Delta", 1),
    ],
)  # fmt: skip
def test_capitals_are_other_letters(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        (r"\cos 20^\circ", r"\cos 20", 0), (r"\cos 20", r"\cos 20^\circ", 0), (r"\cos 20^\circ", r"\sin 70^\circ", 1),
        (r"\cos 20^\circ", r"\cos\frac{\pi}{9}", 1), (r"\sin 30^\circ", r"\frac{1}{2}", 1),
        (r"\frac{\sqrt{2}}{2}", r"\sin 45^\circ", 0), (r"4\cos 20^\circ", r"4\cos(20^\circ)", 1),
        (r"\frac{\pi}{3}", r"\frac{\pi}{3}^\circ", 0), (r"\frac{\pi}{3}", r"\frac{\pi}{3} \text{ degrees}", 0),
        (r"\frac{\pi}{3}", r"\frac{\pi}{3} \text{ radians}", 1), (r"\frac{\pi}{3}", r"60^\circ", 0),
        (r"\frac{\pi}{6},\frac{\pi}{3}", r"\frac{\pi}{6}^\circ,\frac{\pi}{3}^\circ", 0), ("60", r"60^\circ", 1),
        (r"60^\circ", r"\frac{\pi}{3}", 0), (r"30^\circ, 60^\circ", "30, 60", 1),
    ],
)  # fmt: skip
def test_degrees_are_no_radians(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("e", "E", 0), ("E", "e", 0), ("I", "i", 0), ("i", "I", 0), ("2e", "2E", 0), ("3+2i", "3+2I", 0),
        (r"\pi", r"\Pi", 0),
        (r"\{e,1\}", r"\{E,1\}", 0), ("(e,1)", "(E,1)", 0), (r"(-\infty,e)", r"(-\infty,E)", 0), ("IR", "iR", 0),
        ("e", r"\mathrm{e}", 1), ("E", "E", 1), ("1+2I", "2I+1", 1), ("IR", "RI", 1), ("E=mc^2", "mc^2=E", 1),
        ("3+2i", "2i+3", 1),
        ("E_1+1", "1+E_1", 1), ("E(X)+1", "1+E(X)", 1), ("AE+EB", "EB+AE", 1), ("e^2", "e^{2}", 1),
        ("1.5E3", "1500", 1),
    ],
)  # fmt: skip
def test_capitals_are_no_constants(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        (r"\gamma^{2}-1", r"\gamma^{2}-2", 0), (r"\gamma^{2}-1", r"(\gamma-1)(\gamma+1)", 1),
        (r"\gamma I", r"I\gamma", 1),
        (r"x(\gamma+3)", "2x", 0), (r"\gamma_{1}+2", r"\gamma_2+2", 0), (r"\gamma_1+2", r"2+\gamma_{1}", 1),
        (r"\gamma", r"\Gamma", 0), (r"\Gamma(x+1)", r"x\Gamma(x)", 1), (r"\Gamma(x+1)", r"\Gamma(x)", 0),
        ("I^2R", "IR", 0), ("I^2R", "RI^2", 1), ("I_1+2", "I_2+2", 0), ("I_1+2", "2+I_{1}", 1), ("xI+1", "1+xi", 0),
        ("E_1+E_2", "E_2+E_{1}", 1), ("E_1+E_2", "E_1+E_3", 0), ("e_1+x", "x+e_1", 1), ("e_1", "e", 0),
        (r"\text{e}", "e", 1),
    ],
)  # fmt: skip
def test_letters_are_no_constants_and_functions(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        (r"\frac{1}{2004!}", r"\frac{1}{2006!}", 0), (r"\frac{1}{2004!}", r"-\frac{1}{2004!}", 0),
        ("2^{3000}", "2^{3001}", 0),
        (r"\frac{1}{2004!}", r"\frac{1}{2004\cdot 2003!}", 1), ("10^{-400}", "10^{-401}", 0),
        ("2^{3000}", "4^{1500}", 1),
        ("10^{-400}", "0", 0), ("0", "10^{-400}", 0),
    ],
)  # fmt: skip
def test_numbers_beyond_the_range_of_floats_differ(reference, answer, score):
    assert score_of(reference, answer) == score
