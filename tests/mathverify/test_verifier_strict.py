"""Risk: ``strict=True`` pays a form that the reference does not have."""

import pytest

from fdiv_gym_mathverify import MathVerifier

VERIFIER = MathVerifier(strict=True)


@pytest.mark.parametrize(
    ("reference", "response", "score"),
    [
        ("3", r"\boxed{3}", 1), ("3", r"\boxed{3} so \boxed{3}", 0), ("3", r"\boxed{3 \text{ bolts}}", 0),
        ("5", r"\boxed{5 \text{ cm}}", 0), ("5", r"\boxed{5 \text{ dollars}}", 0), ("5", r"\boxed{5m}", 0),
        (r"5 \text{ cm}", r"\boxed{5 \text{ cm}}", 1), (r"5 \text{ cm}", r"\boxed{5}", 1), ("5", r"\boxed{\$5}", 1),
        (r"5 \text{ cm}", r"\boxed{5 \text{ centimeters}}", 1), ("18", r"\boxed{\text{Total} = 18}", 0),
        ("18", r"\boxed{18 eggs}", 0), ("1,2", r"\boxed{1} and \boxed{2}", 0), ("60", r"\boxed{60^\circ}", 1),
    ],
)  # fmt: skip
def test_strict_accepts_one_box_and_no_added_words(reference, response, score):
    assert VERIFIER.verify(reference, response).score == score
