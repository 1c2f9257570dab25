"""Risk: an amount in another unit is refused, or a number with a wrong unit is paid."""

import pytest
from judging import score_of

from fdiv_gym_mathverify import MathVerifier
from fdiv_gym_mathverify.quantities import same_amount


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        (r"3 \text{ m}", r"300 \text{ cm}", 1), (r"3 \text{ m}", r"3 \text{ cm}", 0),
        (r"3 \text{ m}", r"30 \text{ cm}", 0),
        (r"3 \text{ m}", "300", 0), ("3", r"300 \text{ cm}", 0), ("300", r"3 \text{ m}", 0),
        (r"3 \text{ m}", r"300 \text{ g}", 0), (r"3 \text{ m}", r"300 \text{ cm}^2", 0),
        (r"3 \text{ h}", r"180 \text{ min}", 1), (r"3 \text{ hours}", r"10800 \text{ seconds}", 1),
        (r"3 \text{ hours}", r"180 \text{ seconds}", 0), (r"2 \text{ days}", r"48 \text{ hours}", 1),
        (r"30 \text{ minutes}", r"\frac12 \text{ hour}", 1), (r"30 \text{ minutes}", r"0.5 \text{ h}", 1),
        (r"30 \text{ minutes}", r"\frac13 \text{ hour}", 0), (r"90 \text{ min}", r"1\frac12 \text{ hours}", 1),
        (r"1 \text{ year}", r"12 \text{ months}", 1), (r"1 \text{ year}", r"365 \text{ days}", 0),
        (r"2 \text{ kg}", r"2000 \text{ g}", 1), (r"2 \text{ kg}", r"200 \text{ g}", 0),
        (r"2 \text{ lb}", r"32 \text{ oz}", 1),
        (r"2 \text{ kg}", r"4.4 \text{ lb}", 0), (r"2.54 \text{ cm}", r"1 \text{ in}", 1),
        (r"2.5 \text{ cm}", r"1 \text{ in}", 0),
        (r"3 \text{ m}^2", r"30000 \text{ cm}^2", 1), (r"3 \text{ m}^2", r"300 \text{ cm}^2", 0),
        (r"1 \text{ liter}", r"1000 \text{ cm}^3", 1), (r"1.5 \text{ L}", r"1500 \text{ mL}", 1),
        (r"2 \text{ gallons}", r"8 \text{ quarts}", 1), (r"2 \text{ gallons}", r"2 \text{ quarts}", 0),
        (r"1 \text{ cup}", r"8 \text{ oz}", 0), (r"3\pi \text{ m}", r"300\pi \text{ cm}", 1),
        (r"3\pi \text{ m}", r"30\pi \text{ cm}", 0), (r"\sqrt{2} \text{ km}", r"1000\sqrt2 \text{ m}", 1),
        (r"18 \text{ km/h}", r"5 \text{ m/s}", 1), (r"18 \text{ km/h}", r"18 \text{ m/s}", 0),
        (r"60 \text{ mph}", r"88 \text{ feet per second}", 1), (r"60 \text{ mph}", r"1 \text{ mile per minute}", 1),
        (r"\$3", r"300 \text{ cents}", 1), (r"\$3", r"3 \text{ cents}", 0), (r"\$0.75", r"75 \text{ cents}", 1),
        (r"75 \text{ cents}", r"\$0.75", 1), (r"75 \text{ cents}", r"\$75", 0), (r"75 \text{ cents}", "0.75", 0),
        (r"180^\circ", r"\pi \text{ radians}", 1), (r"180^\circ", r"\pi", 0), (r"180^\circ", r"180 \text{ radians}", 0),
        (r"\frac{\pi}{3} \text{ radians}", r"60^\circ", 1), (r"\frac{\pi}{3} \text{ radians}", r"30^\circ", 0),
        (r"\frac{\pi}{3} \text{ radians}", "60", 0), (r"\frac{\pi}{3}", r"60^\circ", 0),
        (r"20^\circ \text{C}", r"68^\circ \text{F}", 0),
        (r"5 \text{ square meters per second}", r"5 \text{ m/s}^2", 0),
        (r"5 \text{ square meters per second}", r"5 \text{ m}^2\text{/s}", 0),
        (r"5 \text{ square meters per hour}", r"5 \text{ sq m/h}", 1),
        (r"9.8 \text{ m/s}^2", r"980 \text{ cm/s}^2", 1), (r"9.8 \text{ m/s}^2", r"980 \text{ cm/s}", 0),
        (r"5 \text{ years}", r"5 \text{ years old}", 1), (r"5 \text{ years old}", r"5 \text{ years}", 1),
        (r"9 \text{ m/s}", r"9 \text{ meters per second}", 1), (r"9 \text{ m/s}", r"9 \text{ m s}", 0),
        (r"5 \text{ g/cm}^3", r"5 \text{ grams per cubic centimeter}", 1),
        (r"5 \text{ g/cm}^3", r"5 \text{ g cm}^3", 0),
        (r"3 \text{ m}", r"3 / \text{m}", 0), (r"5 \text{ hours}", r"5 \text{ per hour}", 0),
        (r"9.8 \text{ m/s}^2", r"9.8 \text{ meters per second squared}", 1), ("5", r"5 \text{ squared}", 0),
        (r"9.8 \text{ m/s}", r"9.8 \text{ meters per second squared}", 0), (r"3 \text{ mg}", r"3 \text{ Mg}", 0),
        (r"3 \text{ mm}", r"3 \text{ Mm}", 0), (r"12 \text{ kg}", r"12 \text{ Kg}", 1),
        (r"\$5 \text{ per hour}", r"\$5", 1), (r"\$5 \text{ per hour}", r"500 \text{ cents per hour}", 1),
        (r"\$5 \text{ per hour}", r"\$5 \text{ per day}", 0), (r"\$5 \text{ per hour}", r"\$6", 0),
        (r"5 \text{ m} : 60 \text{ cm}", "5:60", 0), (r"5 \text{ cm} : 6 \text{ cm}", "5:6", 1),
        (r"3 \text{ or more}", "3", 0), (r"3 \text{ or more}", r"\text{3 or more}", 1),
        (r"3 \text{ or more}", r"3 \text{ or less}", 0), (r"3 \text{ more apples}", "3", 1),
        (r"5 \text{ feet wide}", r"5 \text{ feet tall}", 0), (r"5 \text{ years}", r"5 \text{ years ago}", 0),
        (r"5 \text{ years old}", r"6 \text{ years}", 0), (r"12 \text{ feet tall}", "12 feet", 1),
    ],
)  # fmt: skip
def test_units_are_converted_where_both_sides_have_one(reference, answer, score):
    assert score_of(reference, answer) == score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        (r"2 \text{ hours } 30 \text{ minutes}", r"2 \text{ hours and } 30 \text{ minutes}", 1),
        (r"2 \text{ hours } 30 \text{ minutes}", r"2 \text{ h } 30 \text{ min}", 1),
        (r"2 \text{ hours } 30 \text{ minutes}", r"2 \text{ hours 30 minutes}", 1),
        (r"2 \text{ hours } 30 \text{ minutes}", r"\text{2 hours and 30 minutes}", 1),
        (r"2 \text{ hours } 30 \text{ minutes}", "2h 30m", 1), ("2 hours 30 minutes", "2 hr. 30 min.", 1),
        (r"2 \text{ hours } 30 \text{ minutes}", r"150 \text{ minutes}", 1),
        (r"2 \text{ hours } 30 \text{ minutes}", r"2.5 \text{ hours}", 1),
        (r"2 \text{ hours } 30 \text{ minutes}", r"2\frac12 \text{ hours}", 1),
        (r"150 \text{ minutes}", r"2 \text{ hours } 30 \text{ minutes}", 1),
        (r"5 \text{ ft } 6 \text{ in}", r"66 \text{ inches}", 1),
        (r"\$3.50", r"3 \text{ dollars and } 50 \text{ cents}", 1),
        (r"5 \text{ feet } 6 \text{ inches}", r"5 \text{ ft}, 6 \text{ in}", 1),
        (r"1 \text{ day } 2 \text{ h } 5 \text{ min}", r"1 \text{ day, } 2 \text{ hours, and } 5 \text{ minutes}", 1),
        (r"2 \text{ hours } 30 \text{ minutes}", r"2 \text{ hours } 20 \text{ minutes}", 0),
        (r"2 \text{ hours } 30 \text{ minutes}", r"30 \text{ hours } 2 \text{ minutes}", 0),
        (r"2 \text{ hours } 30 \text{ minutes}", r"30 \text{ minutes } 2 \text{ hours}", 0),
        (r"2 \text{ hours } 30 \text{ minutes}", r"1 \text{ hour } 90 \text{ minutes}", 0),
        (r"2 \text{ hours } 30 \text{ minutes}", r"2 \text{ hours or } 30 \text{ minutes}", 0),
        (r"2 \text{ hours } 30 \text{ minutes}", r"2 \text{ hours and}", 0),
        (r"2 \text{ hours } 30 \text{ minutes}", r"2.3 \text{ hours}", 0),
        (r"2 \text{ hours } 30 \text{ minutes}", "2", 0),
        (r"2 \text{ hours } 30 \text{ minutes}", "150", 0), (r"2 \text{ hours } 30 \text{ minutes}", "2.5", 0),
        (r"2 \text{ hours } 30 \text{ minutes}", r"2 \text{ hours}", 0),
        ("150", r"2 \text{ hours } 30 \text{ minutes}", 0),
        (r"2 \text{ hours } 30 \text{ minutes}", r"2 \text{ hours } 30 \text{ cm}", 0),
        (r"\$3.50", r"3 \text{ dollars and } 5 \text{ cents}", 0), ("5hm", "2 h 3 m", 0),
    ],
)  # fmt: skip
def test_amounts_in_several_units(reference, answer, score):
    assert score_of(reference, answer) == score


def test_a_strict_verifier_converts_nothing():
    plan = MathVerifier(strict=True).plan(r"3 \text{ m}", r"\boxed{300 \text{ cm}}")
    assert plan.score == 0.0


@pytest.mark.parametrize("text", ["1 h " * 30, "2 h 3 h", "1 " * 60, "1h1min1s1h1min", "," * 100, r"\text{a}" * 17])
def test_no_amount(text):
    assert same_amount(text, text) is None
