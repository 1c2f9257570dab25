"""Risk: an answer of another shape than its reference is paid, or makes the reference unscorable for the whole run."""

import pytest
from judging import score_of

from fdiv_gym_mathverify.effort import excess


@pytest.mark.parametrize(
    "reference",
    [r"(0,1)\cup(2,3)", r"(-\infty,0)\cup(0,\infty)", r"\mathbb{R}\setminus\{0\}", r"\mathbb{R}\setminus\{0,1\}"],
)
@pytest.mark.parametrize("answer", [r"\{0\}", r"x \in \{97\}", "0", "x=0", "x>0", "(1,2)", r"\{1,2\}", "x^2=1"])
def test_another_shape_scores_zero(reference, answer):
    assert score_of(reference, answer) == 0


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("x^2+y^2=4", r"\{4\}", 0), ("xy=0", r"\{0\}", 0), ("xy=0", "0", 0), ("xy=0", "yx=0", 1),
        ("xy=1", r"y=\frac{1}{x}", 1),
        ("xy=0", "x=0", 0), ("AB=5", "5", 1),
        ("x^2=1, y^2=2", r"\{1,2\}", 0), ("3", r"\{3\}", 1), ("3", r"\{\{3\}\}", 0), (r"\{3\}", "3", 1),
        (r"\{3\}", r"\{4\}", 0), (r"\{x+1\}", r"\{1+x\}", 1), (r"\mathbb{R}\setminus\{0\}", r"x \neq 0", 1),
        ("x=3", r"\{3\}", 1), ("x^2=9", r"\{9\}", 0),
    ],
)  # fmt: skip
def test_a_set_of_one_is_its_element(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        (r"2 \text{ R } 3", r"3 \text{ R } 2", 0), (r"2 \text{ R } 3", r"2 \text{ remainder } 3", 1),
        ("2 R 3", "6R", 0), ("2 R 3", "2R3", 1), (r"2 \text{ R } 3", "2", 0), ("2R", "R+R", 1),
        ("2020-05-06", "2020-06-05", 0), ("2020-05-06", "2009", 0), ("2020-05-06", "2020-05-06", 1),
        ("10/5/2020", "6/3/2020", 0), ("10/5/2020", "10/5/2020", 1),
        (r"1, 2, \ldots, 10", "1, 2, 10", 0), (r"1, 2, \ldots, 10", r"1,2,\dots,10", 1),
    ],
)  # fmt: skip
def test_numbers_that_are_no_product(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("answer", "reference", "refused"),
    [
        (r"\cos(7)^{500}", r"\cos 20^\circ", True), (r"\cos(7^\circ)^{500}", r"\cos 20^\circ", True),
        (r"\cos(\frac{\pi}{7})^{41}", r"\cos\frac{\pi}{9}", True), (r"\cos^2 x-\sin^2 x", r"\cos 2x", False),
        (r"2^{100}\cos^{100} x", r"(2\cos x)^{100}", False), ("x^{500}", "x^{500}+1", False),
    ],
)  # fmt: skip
def test_powers_of_functions_of_angles_are_bounded(answer, reference, refused):
    assert bool(excess(answer, reference)) is refused
