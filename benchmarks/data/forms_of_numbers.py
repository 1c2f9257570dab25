# ruff: noqa: D103 - each function draws the kind of pair it is named after
"""Pairs on numbers: words after them, units, letters that are no units, and markup."""

from __future__ import annotations

import random

Case = tuple[str, list[str], list[str]]
"""A reference, right answers and wrong ones."""

NOUN_LIST = """
apples bolts clips eggs cookies marbles students tickets pages cars dogs stamps cupcakes bricks trees shirts roses boxes
toys balloons pencils pizzas slices bottles chairs birds fish people children sandwiches coins games muffins beads cows
sheep books crayons stickers oranges bananas pounds gallons miles hours days weeks minutes years
"""
NOUNS = NOUN_LIST.split()
ADJECTIVES = ["red", "blue", "large", "small", "extra", "remaining", "fresh", "broken", "new", "old"]
MONEY = [
    "per week",
    "per day",
    "in total",
    "total",
    "profit",
    "left",
    "each month",
    "in change",
    "per hour",
    "altogether",
]
UNITS = [
    ("cm", ["cm", "centimeters"], "m"), ("m", ["m", "meters"], "km"), ("miles", ["miles", "mi"], "feet"),
    ("hours", ["hours", "hr"], "minutes"), ("square feet", ["square feet", "ft^2"], "feet"), ("kg", ["kg",
        "kilograms"], "g"),
    ("dollars", ["dollars"], "cents"), ("mph", ["mph", "miles per hour"], "hours"), ("inches", ["in", "inches"],
        "feet"),
]  # fmt: skip
TRAPS = [
    "dozen", "thousand", "or more", "times two", "and a half", "hundred apples", "apples or pears", "apples and pears",
    "squared", "not apples", "plus one", "percent more than before", "to five", "in base two", "million dollars",
        "maybe",
    "or so", "is wrong", "minus two", "less than ten", "over two", "apples too few or many", "negative", "below zero",
]  # fmt: skip
LETTERS = "nkxyabtpqw"


def value(r: random.Random) -> int:
    return r.choice([r.randint(1, 60), r.randint(1, 60), r.randint(60, 2000), r.randint(2000, 90000)])


def other(r: random.Random, n: int) -> int:
    return n + r.choice([-1, 1, 2, 5, 10])


def noun_after_number(r: random.Random) -> Case:
    n, noun = value(r), r.choice(NOUNS)
    words = r.choice(
        [noun, noun, noun, f"{r.choice(ADJECTIVES)} {noun}", f"{noun} per day", f"{noun} left", f"of the {noun}"]
    )
    forms = [
        r"{} \text{{ {}}}",
        r"{}\text{{ {}}}",
        r"\text{{{} {}}}",
        "{} {}",
        r"{} \, \text{{{}}}",
        r"{}\ \mathrm{{{}}}",
    ]
    form = r.choice(forms)
    m = other(r, n)
    wrong = [
        form.format(m, words),
        rf"{n} \text{{ {r.choice(TRAPS)}}}",
        rf"-{n} \text{{ {words}}}",
        f"{n} {r.choice(LETTERS)}",
    ]
    grouped = f"{n:,}" if n > 999 else str(n)
    return str(n), [form.format(n, words), form.format(grouped, words)], [*wrong, rf"{n} \text{{ {words} and }} {m}"]


def money(r: random.Random) -> Case:
    n, words = value(r), r.choice(MONEY)
    m = other(r, n)
    right = [
        rf"\${n} \text{{ {words}}}",
        rf"\${n:,} \text{{ {words}}}",
        rf"\${n}.00",
        rf"{n} \text{{ dollars {words}}}",
        rf"\${n}",
    ]
    wrong = [
        rf"\${m} \text{{ {words}}}",
        rf"\${n} \text{{ {r.choice(TRAPS)}}}",
        rf"\${n} \text{{ or }} \${m}",
        rf"-\${n}",
    ]
    return r.choice([str(n), rf"\${n}"]) if words != "altogether" else str(n), right, wrong


def noun_in_reference(r: random.Random) -> Case:
    n, noun = value(r), r.choice(NOUNS[:20])
    m, stranger = other(r, n), r.choice(["planets", "wolves", "rivers"])
    right = [str(n), rf"{n} \text{{ {noun}}}", rf"\text{{{n} {noun}}}", f"{n} {noun}"]
    wrong = [str(m), rf"{m} \text{{ {noun}}}", rf"{n} \text{{ {stranger}}}", rf"{n} \text{{ dozen {noun}}}"]
    return r.choice([rf"{n} \text{{ {noun}}}", f"{n} {noun}"]), right, wrong


def unit(r: random.Random) -> Case:
    n = value(r)
    name, same, wrong_name = r.choice(UNITS)
    m = other(r, n)
    right = [str(n), *(rf"{n} \text{{ {one}}}" if "^" not in one else rf"{n} \text{{ ft}}^2" for one in same)]
    return rf"{n} \text{{ {name}}}", right, [str(m), rf"{m} \text{{ {name}}}", rf"{n} \text{{ {wrong_name}}}"]


def speed(r: random.Random) -> Case:
    n = value(r)
    right = [str(n), rf"{n} \text{{ m/s}}", rf"{n}\,\mathrm{{m/s}}", rf"{n} \mathrm{{~m}} / \mathrm{{s}}"]
    wrong = [str(n + 1), rf"{n} \text{{ m}}", rf"{n + 1} \text{{ m/s}}", rf"{n} \text{{ m/s}}^2"]
    return rf"{n} \mathrm{{~m}} / \mathrm{{s}}", right, wrong


def letter(r: random.Random) -> Case:
    a, b, x = r.randint(2, 30), r.randint(2, 30), r.choice("nkxyjvw")
    kind = r.randrange(5)
    if kind == 0:
        return (
            f"{a} {x}",
            [f"{a}{x}", rf"{a} \cdot {x}", f"{x} \\cdot {a}"],
            [str(a), f"{a + 1}{x}", f"{a}", f"{a}{x}^2"],
        )
    if kind == 1:
        return f"{b}-{a} {x}", [f"{b}-{a}{x}", f"-{a}{x}+{b}"], [str(b - a), f"{b}+{a}{x}", f"{a}-{b}{x}", str(b)]
    if kind == 2:
        right = [f"{a}{x}^2+{b}{x}", f"{x}({a}{x}+{b})", f"{b}{x}+{a}{x}^2"]
        return f"{a} {x}^{{2}}+{b} {x}", right, [str(a + b), f"{a}{x}^2+{b}", f"{a + b}{x}^2", f"{a}{x}^2-{b}{x}"]
    if kind == 3:
        right = [rf"\frac{{{a}\pi r^2 h}}{{{b}}}", rf"\frac{{{a}}}{{{b}}}\pi hr^2"]
        return (
            rf"\frac{{{a}}}{{{b}}}\pi r^2 h",
            right,
            [rf"\frac{{{a}}}{{{b}}}\pi r^2", rf"\frac{{{a}}}{{{b}}}", str(a)],
        )
    right = [rf"\frac{{s\sqrt{{{b}}}}}{{{a}}}", rf"\frac{{\sqrt{{{b}}}}}{{{a}}}s"]
    return (
        rf"\frac{{\sqrt{{{b}}}}}{{{a}}} s",
        right,
        [rf"\frac{{\sqrt{{{b}}}}}{{{a}}}", rf"\frac{{\sqrt{{{b}}}}}{{{a}}}t"],
    )


def number_markup(r: random.Random) -> Case:
    n = r.randint(10000, 99999)
    m = n + 1
    forms = [
        r"{:,}", r"{}", r"{{\bf {}}}", r"\mathbf{{{}}}", r"\color{{red}}{{{}}}", r"{{\color{{blue}} {}}}",
            r"\textbf{{{}}}",
        r"\textcolor{{red}}{{{}}}", r"{{\displaystyle {}}}", r"${}$", r"\({}\)", r"\underline{{{}}}", r"\text{{{}}}",
            "{}.",
    ]  # fmt: skip
    form = r.choice(forms)
    thousands = f"{n // 1000},\\! {n % 1000:03d}"
    return (
        str(n),
        [form.format(n), form.format(n), thousands, thousands.replace(" ", "")],
        [form.format(m), form.format(-n)],
    )


def matrix_markup(r: random.Random) -> Case:
    a, b, c, d = (r.randint(-9, 9) for _ in range(4))
    reference = rf"\begin{{pmatrix}} {a} & {b} \\ {c} & {d} \end{{pmatrix}}"
    forms = [
        r"\left(\begin{array}{cc}A & B \\ C & D\end{array}\right)",
            r"\left[\begin{array}{rr}A&B\\C&D\end{array}\right]",
        r"\begin{bmatrix}A & B \\[4pt] C & D\end{bmatrix}", r"\begin{pmatrix}A&B\\C&D\end{pmatrix}",
    ]  # fmt: skip
    form = r.choice(forms)

    def fill(*entries: int) -> str:
        text = form
        for name, entry in zip("ABCD", entries, strict=True):
            text = text.replace(name, str(entry))
        return text

    return reference, [fill(a, b, c, d)], [fill(a, b, c, d + 1), fill(a, b, -c - 1, d), fill(a + 1, b, c, d)]


def fraction_markup(r: random.Random) -> Case:
    a, b = r.choice([(1, 2), (1, 3), (2, 3), (3, 4), (5, 8), (1, 4), (7, 8), (2, 5)])
    mark = {(1, 2): "½", (1, 3): "⅓", (2, 3): "⅔", (3, 4): "¾", (5, 8): "⅝", (1, 4): "¼", (7, 8): "⅞", (2, 5): "⅖"}[
        a, b
    ]
    k = r.randint(1, 20)
    if r.random() < 0.4:
        right = [f"{k}{mark}", rf"{k}\frac{{{a}}}{{{b}}}", rf"\dfrac{{{k * b + a}}}{{{b}}}"]
        return rf"\frac{{{k * b + a}}}{{{b}}}", right, [f"{k + 1}{mark}", rf"{k}\frac{{{a}}}{{{b + 7}}}", mark]
    right = [
        mark,
        rf"\cfrac{{{a}}}{{{b}}}",
        rf"\frac {a} {b}",
        rf"{{\displaystyle \frac{{{a}}}{{{b}}}}}",
        rf"\\frac{{{a}}}{{{b}}}",
    ]
    return (
        r.choice([rf"\frac{{{a}}}{{{b}}}", rf"\\frac{{{a}}}{{{b}}}"]),
        right,
        [rf"\frac{{{b}}}{{{a}}}", f"-{mark}", f"1{mark}"],
    )


def power_markup(r: random.Random) -> Case:
    a, k = r.randint(2, 30), r.choice([2, 3])
    raised, wrong = ("²", "³") if k == 2 else ("³", "²")
    return (
        f"x^{k}+{a}",
        [f"x{raised}+{a}", f"{a}+x{raised}", f"x^{{{k}}}+{a}"],
        [f"x{wrong}+{a}", f"x{raised}-{a}", f"x{raised}+{a + 1}"],
    )


def base(r: random.Random) -> Case:
    b, word = r.choice([(8, "eight"), (5, "five"), (7, "seven"), (9, "nine")])
    digits = "".join(str(r.randint(1, b - 1)) for _ in range(r.randint(2, 5)))
    wrong = digits[:-1] + str(int(digits[-1]) % (b - 1) + 1)
    forms = [
        "{}_{{" + str(b) + "}}",
        "{}_" + str(b),
        "{}_{{\\text{{" + word + "}}}}",
        "{} \\text{{ (base " + str(b) + ")}}",
    ]
    form, given = r.choice(forms[:3]), r.choice(forms)
    return form.format(digits), [given.format(digits), digits], [given.format(wrong), f"{digits}_{{{b - 1}}}", wrong]


def logarithm_markup(r: random.Random) -> Case:
    a, b = r.randint(2, 9), r.choice([11, 13, 17, 19])
    right = [rf"\log_{{{a}}} {b}", rf"\log_{a}({b})", rf"\frac{{\ln {b}}}{{\ln {a}}}", rf"\log_{{{a}}}{{{b}}}"]
    return rf"\log_{a} {b}", right, [rf"\log_{{{b}}} {a}", rf"\log_{a} {b + 1}", rf"\log_{{{a + 1}}} {b}"]


def clock(r: random.Random) -> Case:
    h, m = r.randint(1, 12), r.randint(10, 58)
    return f"{h}:{m}", [f"{h}{{:}}{m}", f"{h}:{m}"], [f"{h}{{:}}{m + 1}", f"{h % 12 + 1}:{m}", f"{m}:{h}"]


def scale(r: random.Random) -> Case:
    n, (word, zeros) = r.randint(2, 400), r.choice([("thousand", 3), ("million", 6), ("billion", 9)])
    full = n * 10**zeros
    right = [rf"{n} \text{{ {word}}}", f"{n} {word}", f"{full:,}", str(full), rf"\${n} \text{{ {word}}}"]
    return str(full), right, [str(n), rf"{n + 1} \text{{ {word}}}", rf"{n} \text{{ hundred}}", f"{full // 10}"]


def percent(r: random.Random) -> Case:
    n = r.randint(2, 98)
    right = [rf"{n}\%", f"{n}", rf"{n} \text{{ percent}}", rf"{n}\% \text{{ of students}}"]
    return (
        str(n) if r.random() < 0.5 else rf"{n}\%",
        right[: 3 if n else 4],
        [rf"{n + 1}\%", f"0.{n + 1}", rf"{n}^\circ+1", f"{n * 10}"],
    )


def temperature(r: random.Random) -> Case:
    n = r.randint(-30, 110)
    right = [rf"{n}^\circ\text{{C}}", str(n), rf"{n}^{{\circ}} \mathrm{{C}}", f"{n}°C"]
    return rf"{n}^\circ \text{{C}}", right, [rf"{n}^\circ\text{{F}}", str(n + 1), rf"{n + 2}^\circ\text{{C}}"]


def constants(r: random.Random) -> Case:
    a, b = r.randint(2, 9), r.randint(2, 9)
    right = [rf"{a}+{b}\mathrm{{i}}", f"{a} + {b}i", rf"{b}\mathrm{{i}}+{a}"]
    return f"{a}+{b}i", right, [rf"{a}-{b}\mathrm{{i}}", rf"{a}+{b + 1}\mathrm{{i}}", f"{a}+{b}j", f"{a + b}"]
