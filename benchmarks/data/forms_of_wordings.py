# ruff: noqa: D103 - each function draws the kind of pair it is named after
"""Pairs on other notations, converted units and answers in words."""

from __future__ import annotations

import random
from fractions import Fraction

from forms_of_numbers import Case

CONVERTED = [
    ("m", "cm", 100, "km"), ("km", "m", 1000, "cm"), ("hours", "minutes", 60, "days"), ("kg", "g", 1000, "m"),
    ("minutes", "seconds", 60, "hours"), ("feet", "inches", 12, "yards"), ("dollars", "cents", 100, "euros"),
    ("liters", "mL", 1000, "kg"), ("days", "hours", 24, "weeks"), ("m^2", "cm^2", 10000, "m"),
    ("pounds", "oz", 16, "kg"),
]  # fmt: skip
SEVERAL = [("hours", "minutes", 60), ("feet", "inches", 12), ("dollars", "cents", 100), ("minutes", "seconds", 60)]
WORD_LIST = "two three four five six seven eight nine ten eleven twelve"
WORDS = WORD_LIST.split()
TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "ninety": 90}


def infix(r: random.Random) -> Case:
    a, b = r.randint(1, 20), r.randint(21, 60)
    value = Fraction(a, b)
    top, bottom = value.numerator, value.denominator
    right = [rf"{{{top} \over {bottom}}}", rf"{{{top}}}/{{{bottom}}}", rf"\left.\frac{{{top}}}{{{bottom}}}\right."]
    wrong = [rf"{{{bottom} \over {top}}}", rf"{{{top}}}/{{{bottom + 1}}}", rf"1{{{top} \over {bottom}}}"]
    return rf"\frac{{{top}}}{{{bottom}}}", right, [*wrong, rf"\left.\frac{{{top + 1}}}{{{bottom}}}\right|_0^1"]


def repeating(r: random.Random) -> Case:
    digit = r.randint(1, 8)
    value = Fraction(digit, 9)
    right = [rf"0.\overline{{{digit}}}", rf"0.\bar{{{digit}}}", rf"0.\dot{{{digit}}}", rf"0.{digit}\bar{digit}"]
    wrong = [f"0.{digit}", rf"0.\overline{{{digit + 1}}}", rf"0.0\bar{{{digit}}}", rf"{digit}.\bar{{{digit}}}"]
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}", right, wrong


def converted(r: random.Random) -> Case:
    large, small, factor, other = r.choice(CONVERTED)
    n = r.randint(2, 40)
    right = [rf"{n * factor} \text{{ {small}}}", rf"{n} \text{{ {large}}}", rf"{n * factor}\,\text{{{small}}}"]
    wrong = [rf"{n} \text{{ {small}}}", rf"{n * factor} \text{{ {large}}}", rf"{n} \text{{ {other}}}"]
    return rf"{n} \text{{ {large}}}", right, [*wrong, str(n * factor), rf"{n * factor + 1} \text{{ {small}}}"]


def several_units(r: random.Random) -> Case:
    large, small, factor = r.choice(SEVERAL)
    n, m = r.randint(2, 9), r.randint(1, factor - 1)
    total = n * factor + m
    right = [rf"{n} \text{{ {large} and }} {m} \text{{ {small}}}", rf"\text{{{n} {large} {m} {small}}}"]
    wrong = [rf"{n} \text{{ {large} }} {m + 1} \text{{ {small}}}", rf"{m} \text{{ {small}}}", f"{n}.{m}", str(total)]
    wrong += [rf"{n + 1} \text{{ {large} }} {m} \text{{ {small}}}", rf"{n} \text{{ {large} or }} {m} \text{{ {small}}}"]
    return rf"{n} \text{{ {large} }} {m} \text{{ {small}}}", [*right, rf"{total} \text{{ {small}}}"], wrong


def introduced(r: random.Random) -> Case:
    n = r.randint(2, 900)
    right = [rf"\text{{The answer is }} {n}", rf"\text{{The total is }} {n}", rf"x \text{{ is }} {n}", f"m+n={n}"]
    right += [rf"\text{{Total: {n} eggs}}", rf"= {n}", rf"\boldsymbol{{{n}}}", rf"{n}\text{{-hour}}"]
    wrong = [rf"\text{{The answer is not }} {n}", rf"\text{{Half of it is }} {n}", rf"\text{{The answer is }} {n + 1}"]
    return str(n), right, [*wrong, rf"2m = {n}", rf"{n} \text{{ or }} {n + 1}", rf"\text{{Total: {n} dozen}}"]


def number_word(r: random.Random) -> Case:
    place = r.randrange(len(WORDS))
    tens, value = r.choice(list(TENS.items()))
    word, n = (WORDS[place], place + 2) if place > 7 else (f"{tens}-{WORDS[place]}", value + place + 2)
    wrong = [rf"\text{{{word} or one}}", rf"\text{{not {word}}}", r"\text{one}", rf"\text{{{word} hundred}}"]
    return str(n), [rf"\text{{{word}}}", rf"\text{{{word.capitalize()}}}", rf"{n}"], wrong


def time_of_day(r: random.Random) -> Case:
    h, half, other = r.randint(1, 11), *r.choice([("a", "p"), ("p", "a")])
    right = [f"{h} {half}.m.", f"{h}:00 {half.upper()}M", rf"{h}{{:}}00\text{{ {half}.m.}}"]
    wrong = [f"{h}:00 {other.upper()}M", f"{h + 1} {half}.m.", rf"{h}:30 \text{{ {half}.m.}}", f"{h}"]
    return rf"{h}:00 \text{{ {half}.m.}}", right, wrong
