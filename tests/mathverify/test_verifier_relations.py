"""Risk: a degenerate or unrelated equation is paid, or an equivalent one is refused."""

import pytest

from fdiv_gym_mathverify import worker


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("x^2+1=0", "x^2=-1"), ("x^2+1=0", "2x^2+2=0"), ("x^2+4x+20=0", "x^2+4x=-20"),
        ("2x+3y=6", "4x+6y=12"), ("2x+3y=6", r"y=-\frac{2}{3}x+2"), ("2x+3y=6", r"y=\frac{6-2x}{3}"),
        ("2x+3y=6", "6-2x=3y"), ("(x-1)^2+(y-2)^2=9", "x^2-2x+y^2-4y-4=0"),
        (r"\frac{x^2}{4}+\frac{y^2}{9}=1", "9x^2+4y^2=36"), ("xy=1", r"y=\frac{1}{x}"),
        ("3+4=7", "4+3=7"), ("3+4=7", "7=3+4"), ("2x+3y<6", "3y<6-2x"), ("2x+3y<6", "6>2x+3y"),
        ("2x-y<6", "y-2x>-6"),
    ],
)  # fmt: skip
def test_equivalent_relations(reference, answer):
    assert worker.judge([(reference, answer)])[1] == 1.0


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("x^2+1=0", "x=x"), ("x^2+1=0", "0=0"), ("x^2+1=0", "1=2"), ("x^2+1=0", "5=0"), ("x^2+1=0", "0x=0"),
        ("x^2+1=0", "x^2+2=0"), ("x^2+1=0", "x^4+2x^2+1=0"), ("x^2+1=0", "x=x+1"), ("x^2+1=0", "y^2+1=0"),
        ("x^2+1=0", "(x^2+1)(y^2+1)=0"), ("x^2+4x+20=0", "x^2+4x+70=0"), ("x^2+y^2+1=0", "x^2+y^2+2=0"),
        ("2x+3y=6", "2x+3y=7"), ("2x+3y=6", "(2x+3y-6)^2=0"), ("2x+3y=6", "(2x+3y-6)(x^2+1)=0"),
        ("2x+3y=6", "0(2x+3y)=0"), ("2x+3y=6", "x=x"), ("y=x", r"\frac{y}{x}=1"), ("y=x^2", r"\sqrt{y}=x"),
        ("3+4=7", "3+5=7"), ("3+4=7", "7=7"), ("3+4=7", "7-3=4"), ("3+4=7", "0=0"), ("3+4=8", "3+4=8.5"),
        ("2x+3y<6", "2x+3y>6"), ("2x+3y<6", r"2x+3y\leq 6"), ("2x+3y<6", "-2x-3y<-6"), ("x^2+1<0", "x^2+2<0"),
        ("x^2+1>0", "x>x-1"), ("x^2+1>0", "1>0"), (r"x \neq 2", r"x \neq 3"),
    ],
)  # fmt: skip
def test_other_relations(reference, answer):
    assert worker.judge([(reference, answer)])[1] == 0.0
