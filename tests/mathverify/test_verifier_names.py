"""Risk: the name of a value is ignored, and the value of another name is paid."""

import pytest
from judging import score_of


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("x=0,1,2", "x=0,1,2", 1), ("x=0,1,2", "w=0,1,2", 0), ("x=0,1,2", "0,1,2", 1), ("x=0,1,2", "x=0,y=1,x=2", 0),
        (r"x=0, \frac{\pi}{3}, \pi", r"w=0, \frac{\pi}{3}, \pi", 0), ("x=1,y=2", "x=1,2", 1),
        (r"\sum_{n=0}^{\infty} x^{n} / n !, R=\infty", r"\sum_{n=0}^{\infty} x^{n} / n !, k=\infty", 0),
        ("AB=4,CD=5", "4, 5", 1), ("AB=4,CD=5", "5, 4", 0), ("AB=4,CD=5", "CD=5, AB=4", 1),
        ("AB=4,CD=5", "CD=4, AB=5", 0), ("AB=4,CD=5", "AB=4, CE=5", 0), ("AB=4,CD=5", r"\{4,5\}", 0),
        (r"\alpha=1,\beta=2", r"\beta=2,\alpha=1", 1), (r"\alpha=1,\beta=2", r"\beta=1,\alpha=2", 0),
        ("f(1)=2,f(2)=5", "f(2)=5, f(1)=2", 1), ("f(1)=2,f(2)=5", "f(2)=2, f(1)=5", 0),
        (r"\angle A=30^\circ, \angle B=60^\circ", r"30^\circ, 60^\circ", 1),
        (r"\angle A=30^\circ, \angle B=60^\circ", r"\angle B=30^\circ, \angle A=60^\circ", 0),
        ("a+b=4,ab=5", "4,5", 0), (r"\pi=3,x=2", "3,2", 0), ("y_{1}=x^2, y_{2}=3x", "y_2=3x, y_1=x^2", 1),
        ("y_{1}=x^2, y_{2}=3x", "y_1=3x, y_2=x^2", 0), (r"x_{1}=2,\quadx_{2}=3", "x_1=2, x_2=3", 1),
    ],
)  # fmt: skip
def test_values_of_a_list_keep_their_names(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("A:B=1:5", "1:5", 1), ("A:B=1:5", "5:1", 0), ("A:B=1:5", "B:A=5:1", 0), ("A:B=1:5", "A:B=1:5", 1),
        ("S_{ABCD}:S=7:40", "7:40", 1), ("S_{ABCD}:S=7:40", "40:7", 0), ("A:B=1", "1", 1), ("A:B=1", "2", 0),
        (r"\frac{NO}{BO}=\frac{1}{\sqrt{6}}", r"\frac{\sqrt{6}}{6}", 1), ("AB/CD=3", "3", 1), ("AB/CD=3", "BC/CD=3", 0),
        (r"\frac{NO}{BO}=\frac{1}{\sqrt{6}}", r"\frac{BO}{NO}=\frac{1}{\sqrt{6}}", 0), (r"\frac{x}{y}=3", "3", 0),
    ],
)  # fmt: skip
def test_a_ratio_of_named_lengths_is_its_value(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (r"\{x \mid x=3n, n \in \mathbb{Z}\}", 1), (r"\{x|u=3k,k\in \mathbb{Z}\}", 0), (r"x=3n, n \in \mathbb{Z}", 1),
        (r"\{y|y=3n,n\in \mathbb{Z}\}", 0), (r"\{3k \mid k \in \mathbb{Z}\}", 1), (r"\{x|x=2k,k\in \mathbb{Z}\}", 0),
    ],
)  # fmt: skip
def test_the_member_of_a_set_is_the_letter_of_its_condition(answer, score):
    assert score_of(r"\{x|x=3k,k\in \mathbb{Z}\}", answer) == score


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (r"\boxed{1} and \boxed{2} and \boxed{3}", 1), (r"\boxed{1}, \boxed{2}, \boxed{4}", 0),
        (r"\boxed{1} and \boxed{2}", 0),
    ],
)  # fmt: skip
def test_boxes_are_a_list_for_a_set_without_backslashes(answer, score):
    assert score_of("{1,2,3}", answer) == score
