"""Risk: another notation of a right answer is refused, or one of another value is paid."""

import pytest
from judging import score_of

from fdiv_gym.rewards import normalise


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        (r"\frac34", r"{3 \over 4}", 1), (r"\frac34", r"3 \over 4", 1), (r"\frac34", r"{4 \over 3}", 0),
        (r"\frac34", r"2{3 \over 4}", 0), (r"\frac{\sqrt{3}}{2}", r"{\sqrt{3} \over 2}", 1),
        (r"\frac{1+\sqrt5}{2}", r"{1+\sqrt{5} \over 2}", 1), (r"\frac{1+\sqrt5}{2}", r"1+{\sqrt{5} \over 2}", 0),
        (r"\frac34", r"(3 \over 4", 0), (r"\frac34", r"\over 4", 0), (r"\frac{1}{2+x}", r"{1 \over {2+x}}", 1),
        (r"\frac34", r"{3 \overline 4}", 0),
        (r"\frac34", "{3}/{4}", 1), (r"\frac34", "{3}/{5}", 0), (r"\frac{9}{16}", "{3}/{4}^2", 0),
        (r"\frac34", "2{3}/{4}", 0), (r"\frac34", "x_{3}/{4}", 0), (r"\frac34", "2^{3}/{4}", 0),
        (r"\frac34", r"\left.\frac34\right.", 1), (r"\frac34", r"\left.\frac35\right.", 0),
        (r"\frac{x}{2}", r"\left.\frac{x}{2}\right|_0^1", 0), ("0.5", r"\left.5\right.", 0),
        (r"(3,4)", r"\left(3,4\right.", 0),
        (r"\ln 2", r"\log_e 2", 1), (r"\ln 2", r"\log_{e} 2", 1), (r"\ln 2", r"\log_{e}(2)", 1),
        (r"\ln 2", r"\log_3 2", 0), (r"\ln 2", r"\log_e 3", 0), (r"\ln 2", r"\log_{10} 2", 0),
        (r"\frac13", r"0.\overline{3}", 1), (r"\frac13", r"0.\bar{3}", 1), (r"\frac13", r"0.\bar3", 1),
        (r"\frac13", r"0.3\bar{3}", 1), (r"\frac13", r"0.\dot{3}", 1), (r"\frac16", r"0.1\overline{6}", 1),
        (r"0.\overline{3}", r"\frac13", 1), (r"0.\overline{27}", r"\frac{3}{11}", 1), (r"-\frac13", r"-0.\bar{3}", 1),
        (r"\frac13", "0.3", 0), (r"\frac13", r"0.\bar{4}", 0), (r"\frac13", r"0.\bar{3}\bar{3}", 0),
        (r"\frac13", r"0.\dot{3}5", 0), (r"\frac13", r"0.0\overline{3}", 0), (r"\frac13", r"3.\overline{3}", 0),
        (r"\frac{7}{11}", r"0.\overline{36}", 0), (r"33\frac13\%", r"33.\overline{3}\%", 1),
        ("18", r"18 \text{ (hours)}", 1), ("18", r"18 (\text{hours})", 1), ("18", r"18 \text{ (or more)}", 0),
        ("18", r"18 \text{ (not hours)}", 0), ("18", r"18 \text{ (A)}", 0), ("18", r"17 \text{ (hours)}", 0),
        (r"18 \text{ hours}", r"18 \text{ (hours)}", 1), (r"18 \text{ hours}", r"18 \text{ (days)}", 0),
        ("18", r"18\text{-hour}", 1), ("18", r"18\text{-hour trip}", 1), (r"18 \text{ hours}", r"18\text{-hour}", 1),
        ("18", r"18\text{-something}", 0), ("18", r"18\text{-x}", 0), ("18", r"18\text{-two}", 0),
        (r"18 \text{ hours}", r"18\text{-day}", 0),
        ("18", r"18 \frac{\text{miles}}{\text{hour}}", 1), ("18", r"18 \text{ miles}/\text{hour}", 1),
        (r"18 \text{ mph}", r"18 \frac{\text{mi}}{\text{h}}", 1),
        (r"18 \text{ mph}", r"18\text{ miles}/\text{hour}", 1),
        (r"18 \text{ mph}", r"18 \frac{\text{miles}}{\text{minute}}", 0),
        ("18", r"18 \frac{\text{two}}{\text{hour}}", 0),
        (r"18 \text{ mph}", r"18 \frac{\text{hours}}{\text{mile}}", 0), ("18", r"18 \frac{\text{x}}{\text{y}}", 0),
    ],
)  # fmt: skip
def test_another_notation(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    "text", [r"\over" * 200, "{" * 400 + r"\over" + "}" * 400, r"0.\overline" * 90, "1" * 999, r"\left." * 150]
)
def test_hostile_notation_ends(text):
    assert isinstance(normalise(text), str)
