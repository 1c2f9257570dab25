"""Risk: one of several answers is paid, or a repeated or joined answer is refused."""

import pytest
from judging import score_of

_NO_LABELS = (
    "and twice", "and minus", "and negative", "and less than", "and excluding", "and half of", "and almost",
    "and neither", "thousand and", "thousands and", "percent and", "squared and", "times and", "unsure or",
    "and its negative", "through and", "and minus the", "perhaps or",
)  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("18", r"\boxed{18} so \boxed{18}"),
        ("18", r"\boxed{18} or \boxed{18}"),
        (r"\frac12", r"\boxed{\frac12}, thus \boxed{\dfrac{1}{2}}"),
        (r"\frac12", r"\boxed{\frac12}, thus \boxed{0.5}"),
        ("18", r"\boxed{18}, thus \boxed{x=18}"),
        ("18", r"\boxed{18\text{ cm}}, thus \boxed{18}"),
        ("18", r"\boxed{} \boxed{18}"),
        ("18", r"\boxed{?} and \boxed{18}"),
        ("18", r"\boxed{\phantom{0}} \boxed{18}"),
        ("18", r"\boxed{\ldots} \boxed{18}"),
        ("18", r"\boxed{…} \boxed{18}"),
        ("18", r"\boxed{\text{your answer}} \boxed{18}"),
        ("18", r"\boxed{\text{answer}} \boxed{18}"),
        ("18", r"put it in \boxed. \boxed{18}"),
        ("2,3", r"\boxed{2} and \boxed{3}"),
        ("2,3", r"$\boxed{2}$ and $\boxed{3}$."),
        ("2,3", r"$\boxed{2}$, $\boxed{3}$."),
        ("2,3", r"\boxed{2} \text{ or } \boxed{3}"),
        ("2,3", r"$x=\boxed{2}$ or $x=\boxed{3}$"),
        ("2,3,4", r"\boxed{2}, \boxed{3}, and \boxed{4}"),
        ("2,3", r"First \boxed{2}. Then \boxed{3}. So \boxed{2} and \boxed{3}"),
        ("(2,3)", r"\boxed{2}, \boxed{3}"),
        ("x=2,y=3", r"$x=\boxed{2}$ and $y=\boxed{3}$"),
        ("x=2,y=3", r"$y=\boxed{3}$ and $x=\boxed{2}$"),
        (r"So $\boxed{2}$ and $\boxed{3}$.", "2,3"),
        (r"First $\boxed{2}$, but then $\boxed{3}$.", "3"),
        (r"\boxed{x=2} or \boxed{x=3}", "2,3"),
        ("A", r"\boxed{A} and \boxed{\text{(A)}}"),
        ("2,3", r"\boxed{2} red apples and \boxed{3} pears"),
        ("2,3", r"\boxed{2} adults and then \boxed{3} children"),
        (r"50\%", r"\boxed{50} and \boxed{0.5}"),
    ],
)
def test_boxes_are_paid(reference, answer):
    assert score_of(reference, answer) == 1.0


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("18", r"\boxed{18} so \boxed{19}"),
        ("18", r"\boxed{19} so \boxed{18}"),
        ("18", r"\boxed{18} and \boxed{19}"),
        (r"\frac12", r"\boxed{\frac12}, thus \boxed{0.6}"),
        ("18", r"\boxed{17?} \boxed{18}"),
        ("18", r"\boxed{\phantom{0}17} \boxed{18}"),
        ("18", r"\boxed{?}"),
        ("18", r"\boxed{}"),
        ("18", r"\boxed{18} \boxed{18"),
        ("18", r"\boxed{18} \boxed{"),
        ("18", r"\boxed{\boxed{18}}"),
        ("18", r"\boxed 17 \boxed{18}"),
        ("18", r"\boxed 18"),
        ("18", r"\boxed{\text{none}} \boxed{18}"),
        ("18", r"\boxed{\text{not}} \boxed{18}"),
        ("2,3", r"\boxed{2} and \boxed{4}"),
        ("2,3", r"\boxed{2} and \boxed{3} and \boxed{4}"),
        ("2,3", r"\boxed{2} not \boxed{3}"),
        ("2,3", r"\boxed{2} and not \boxed{3}"),
        ("2,3", r"\boxed{2} plus \boxed{3}"),
        ("2,3", r"First \boxed{7}. So \boxed{2} and \boxed{3}"),
        ("2,3", r"\boxed{2} and \boxed{2}"),
        ("2,3", r"\boxed{2}, \boxed{2}, \boxed{3}"),
        ("(2,3)", r"\boxed{3}, \boxed{2}"),
        ("x=2,y=3", r"$y=\boxed{2}$ and $x=\boxed{3}$"),
        ("5", r"\boxed{2}+\boxed{3}"),
        ("23", r"\boxed{2}, \boxed{3}"),
        ("23", r"\boxed{2}\boxed{3}"),
        (r"So $\boxed{2}$ and $\boxed{3}$.", "3"),
        (r"First $\boxed{2}$, but then $\boxed{3}$.", "2,3"),
        ("A", r"\boxed{A}\boxed{B}"),
        *(("2,3", rf"\boxed{{2}} {words} \boxed{{3}}") for words in _NO_LABELS),
    ],
)
def test_boxes_are_refused(reference, answer):
    assert score_of(reference, answer) == 0.0
