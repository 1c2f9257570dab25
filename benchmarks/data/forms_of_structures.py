# ruff: noqa: D103 - each function draws the kind of pair it is named after
"""Pairs on structures: boxes, sets, intervals, choices and equations."""

from __future__ import annotations

import random

from forms_of_numbers import Case

CHOICES = "ABCDE"
WORD_LIST = "Monday Tuesday Friday east west odd even ellipse parabola circle Evelyn Briana yes no"
WORDS = WORD_LIST.split()


class Whole(str):
    """A whole response, where other answers are put into a box."""


def repeated_box(r: random.Random) -> Case:
    n = r.randint(2, 999)
    m = n + r.choice([-1, 1, 7])

    def twice(first: object, second: object) -> Whole:
        return Whole(rf"So we get \boxed{{{first}}}. The final answer is $\boxed{{{second}}}$.")

    right = [twice(n, n), twice(n, f"{n}.0"), twice(f"x={n}", n), Whole(rf"We put it in \boxed{{}}: $\boxed{{{n}}}$.")]
    right += [Whole(rf"Write \boxed{{\phantom{{00}}}}, namely \boxed{{{n}}}."), Whole(rf"\boxed{{?}} is \boxed{{{n}}}")]
    wrong = [
        twice(n, m),
        twice(m, n),
        twice(m, m),
        Whole(rf"\boxed{{{n}}}, or perhaps \boxed{{{m}}}"),
        Whole(r"\boxed{}"),
    ]
    return str(n), right, [*wrong, Whole(rf"\boxed{{{n} \text{{ or }} {m}}}"), Whole(f"The answer is {n}.")]


def joined_boxes(r: random.Random) -> Case:
    a, b = r.randint(-20, -1), r.randint(1, 20)

    def two(first: int, second: int) -> Whole:
        return Whole(rf"The roots are $\boxed{{{first}}}${r.choice([' and', ' or', ','])} $\boxed{{{second}}}$.")

    return f"{a}, {b}", [two(a, b), two(b, a)], [two(a, b + 1), two(a, a), two(-a + 1, b), Whole(rf"\boxed{{{a}}}")]


def unordered(r: random.Random) -> Case:
    a, b, c = sorted(r.sample(range(-20, 40), 3))
    reference = r.choice([rf"\{{{a}, {b}, {c}\}}", f"{a}, {b}, {c}", rf"{a}, {b}, \text{{and }} {c}"])
    right = [f"{c}, {a}, {b}", rf"\{{{b},{c},{a}\}}", f"{{{a}, {b}, {c}}}", rf"{a}, {b} \text{{ and }} {c}"]
    wrong = [f"{a}, {b}", rf"\{{{a},{b},{c + 1}\}}", f"{a}, {b}, {c}, {c + 1}", f"{a}, {a}, {c}", f"{{{a}, {b}}}"]
    return reference, right, wrong


def intervals(r: random.Random) -> Case:
    a = r.randint(-9, 5)
    b = a + r.randint(1, 9)
    reference = r.choice([rf"(-\infty,{a}]\cup[{b},\infty)", rf"x \in (-\infty,{a}]\cup[{b},\infty)"])
    right = [
        rf"(-\infty, {a}] \cup [{b}, \infty)", rf"x \in (-\infty,{a}]\cup[{b},+\infty)",
            rf"x\leq {a} \text{{ or }} x\geq {b}",
        rf"[{b},\infty)\cup(-\infty,{a}]", rf"\left(-\infty, {a}\right] \cup \left[{b}, \infty\right)",
    ]  # fmt: skip
    wrong = [
        rf"(-\infty,{a})\cup[{b},\infty)", rf"(-\infty,{a}]\cup({b},\infty)", rf"(-\infty,{a}]\cup[{b + 1},\infty)",
        rf"(-\infty,{a}]\cap[{b},\infty)", rf"[{b},\infty)", rf"[{a},{b}]",
    ]  # fmt: skip
    return reference, right, wrong


def one_interval(r: random.Random) -> Case:
    a = r.randint(-9, 5)
    b = a + r.randint(1, 9)
    right = [
        f"[{a},{b})",
        rf"x \in [{a}, {b})",
        rf"{a} \leq x < {b}",
        rf"\left[{a},{b}\right)",
        rf"\bigl[{a},{b}\bigr)",
    ]
    wrong = [f"({a},{b})", f"[{a},{b}]", f"[{a},{b + 1})", f"({a},{b}]", rf"{a} < x < {b}", f"[{a - 1},{b})"]
    return r.choice([f"[{a},{b})", rf"x \in [{a},{b})"]), right, wrong


def family(r: random.Random) -> Case:
    a, b = r.randint(2, 6), r.choice([2, 3, 4, 6])
    reference = rf"\frac{{\pi}}{{{b}}} + {a}k\pi, k \in \mathbb{{Z}}"
    right = [
        rf"{a}k\pi+\frac{{\pi}}{{{b}}}, k\in\mathbb{{Z}}",
        rf"\frac{{\pi}}{{{b}}} + {a}k\pi, \quad k \in \mathbb{{Z}}",
    ]
    wrong = [
        rf"\frac{{\pi}}{{{b}}}",
        rf"\frac{{\pi}}{{{b}}}+{a + 1}k\pi, k\in\mathbb{{Z}}",
        rf"\frac{{\pi}}{{{b + 1}}}+{a}k\pi, k\in\mathbb{{Z}}",
    ]
    return reference, right, wrong


def both_signs(r: random.Random) -> Case:
    a, b = r.randint(1, 9), r.choice([2, 3, 5, 7])
    right = [
        rf"{a}\pm\sqrt{{{b}}}",
        rf"{a}+\sqrt{{{b}}}, {a}-\sqrt{{{b}}}",
        rf"{a}-\sqrt{{{b}}} \text{{ and }} {a}+\sqrt{{{b}}}",
    ]
    wrong = [rf"{a}+\sqrt{{{b}}}", rf"{a + 1}\pm\sqrt{{{b}}}", rf"{a}\pm\sqrt{{{b + 4}}}", rf"-{a}\pm\sqrt{{{b}}}"]
    return r.choice([rf"{a} \pm \sqrt{{{b}}}", rf"{a}+\sqrt{{{b}}}, {a}-\sqrt{{{b}}}"]), right, wrong


def named_tuple(r: random.Random) -> Case:
    a, b, c = r.sample(range(-9, 20), 3)
    right = [f"({a}, {b}, {c})", f"(x,y,z) = ({a},{b},{c})", f"x={a}, y={b}, z={c}", rf"\left({a}, {b}, {c}\right)"]
    wrong = [f"({b}, {a}, {c})", f"(y,x,z) = ({a},{b},{c})", f"x={b}, y={a}, z={c}", f"({a},{b},{c + 1})", f"({a},{b})"]
    return r.choice([f"({a},{b},{c})", f"(x,y,z)=({a},{b},{c})"]), right, wrong


def all_equal(r: random.Random) -> Case:
    n = r.randint(-9, 30)
    right = [f"x=y=z={n}", f"({n},{n},{n})", f"x = y = z = {n}"]
    return f"({n},{n},{n})", right, [f"x=y={n}", f"x=y=z={n + 1}", f"({n},{n},{n + 1})", f"({n},{n})"]


def choice(r: random.Random) -> Case:
    mark = r.choice(CHOICES)
    wrong = r.choice([other for other in CHOICES if other != mark])
    forms = [
        "{}",
        "({})",
        r"\text{{{}}}",
        r"\text{{({})}}",
        r"\textbf{{({})}}",
        "{}.",
        r"\mathrm{{({})}}",
        r"\mathbf{{{}}}",
    ]
    form = r.choice(forms)
    reference = r.choice([mark, f"({mark})", rf"\text{{({mark})}}", rf"\textbf{{({mark})}}"])
    return reference, [form.format(mark)], [form.format(wrong), f"{mark}, {wrong}", rf"{mark} \text{{ or }} {wrong}"]


def valued_choice(r: random.Random) -> Case:
    mark, n = r.choice(CHOICES), r.randint(10, 99)
    wrong = r.choice([other for other in CHOICES if other != mark])
    right = [
        rf"\textbf{{({mark})}}\ {n}",
        rf"({mark}) {n}",
        rf"\text{{({mark}) }} {n}",
        rf"({mark}) \, {n}",
        f"({mark})",
    ]
    return f"({mark})", right, [rf"({wrong}) {n}", rf"\textbf{{({wrong})}}\ {n}", f"({wrong})", rf"({mark})({wrong})"]


def text(r: random.Random) -> Case:
    word, wrong = r.sample(WORDS, 2)
    forms = [r"\text{{{}}}", "{}", r"\text{{ {}}}", r"\textbf{{{}}}", r"\mathrm{{{}}}", r"\text{{{}.}}"]
    form = r.choice(forms)
    return (
        rf"\text{{{word}}}",
        [form.format(word), form.format(word.lower())],
        [form.format(wrong), rf"\text{{{word} or {wrong}}}"],
    )


def equation(r: random.Random) -> Case:
    a, b, c = r.randint(2, 9), r.randint(1, 9), r.randint(10, 20)
    right = [
        f"x^2+{a}x+{c}y={b}",
        f"x^2 + {a}x + {c}y - {b} = 0",
        f"{b}=x^2+{a}x+{c}y",
        f"2x^2+{2 * a}x+{2 * c}y={2 * b}",
    ]
    wrong = [f"x^2+{a + 1}x+{c}y={b}", "x=x", "0=0", f"x^2+{a}x+{c}y={b + 1}", f"x^2+{a}x-{c}y={b}", f"{b}={b}"]
    return f"x^2+{a}x+{c}y={b}", right, wrong


def unsolvable(r: random.Random) -> Case:
    a, c = r.randint(2, 6), r.randint(20, 90)
    reference = f"x^2+{a}x+{c}=0"
    right = [reference, f"0=x^2+{a}x+{c}", f"{c}+{a}x+x^2=0"]
    return reference, right, [f"x^2+{a}x+{c + 1}=0", r"\emptyset", "x=x", "0=0", f"x^2+{a + 1}x+{c}=0"]


def ratio(r: random.Random) -> Case:
    a, b, c = r.sample([2, 3, 5, 7, 11], 3)
    right = [f"{a}:{b}:{c}", f"{a} : {b} : {c}", rf"{a}{{:}}{b}{{:}}{c}"]
    return f"{a}:{b}:{c}", right, [f"{b}:{a}:{c}", f"{a}:{c}:{b}", f"{a}:{b}", f"{a}:{b}:{c + 1}", str(a)]


def line(r: random.Random) -> Case:
    a, b = r.sample(range(2, 10), 2)
    return (
        f"y={a}x+{b}",
        [f"y = {a}x + {b}", f"y={b}+{a}x", f"{a}x+{b}"],
        [f"y={a}x-{b}", f"y={b}x+{a}", f"y={a}x", "y=y"],
    )


def unevaluated(r: random.Random) -> Case:
    a, b = r.randint(11, 40), r.randint(11, 40)
    right = [str(a * b), f"{a * b:,}", f"{a * b}.0"]
    return (
        str(a * b),
        right,
        [rf"{a} \times {b}", f"{a}*{b}", rf"\frac{{{a * b * 2}}}{{2}}", f"{a * b}+x-x", f"{a * b - 1}+1"],
    )


def symbol(r: random.Random) -> Case:
    y, x = r.sample(["x", "y", "t", "u", "v", "s"], 2)
    n = r.randint(2, 9)
    quotient = rf"\frac{{d{y}}}{{d{x}}}"
    if r.random() < 0.5:
        right = [
            rf"{n}{quotient}",
            rf"{quotient} \cdot {n}",
            rf"{n}\frac{{\mathrm{{d}}{y}}}{{\mathrm{{d}}{x}}}",
            f"{n} d{y}/d{x}",
        ]
        return (
            rf"{n}{quotient}",
            right,
            ["0", str(n), rf"\frac{{{n}{y}}}{{{x}}}", rf"{n}\frac{{d{x}}}{{d{y}}}", quotient],
        )
    name = r.choice("fgh")
    right = [f"{name}^{{-1}}({x})+{n}", f"{n}+{name}^{{-1}}({x})"]
    wrong = [rf"\frac{{1}}{{{name}({x})}}+{n}", f"{n}+1/{name}({x})", f"{name}({x})+{n}", f"{name}^{{-1}}({y})+{n}"]
    return f"{name}^{{-1}}({x})+{n}", right, wrong


def label(r: random.Random) -> Case:
    n, x = r.randint(2, 99), r.choice("abknxyz")
    right = [
        f"{x}={n}",
        f"{x}_1 = {n}",
        rf"\text{{Total}} = {n}",
        rf"\text{{Area: }} {n}",
        f"f({n + 1}) = {n}",
        f"m+n={n}",
    ]
    wrong = [
        rf"\sqrt{{{x}}} = {n}",
        rf"\text{{square root}} = {n}",
        rf"{x} \approx {n}",
        rf"\log {x} = {n}",
        f"e^{x} = {n}",
    ]
    return str(n), right, [*wrong, rf"\text{{half of }} {x} = {n}", f"{x} = {n + 1}", rf"{x} \in {n}"]


def gap(r: random.Random) -> Case:
    a, b, c = r.randint(1, 9), r.randint(0, 9), r.choice([2, 3, 5, 7])
    root, tail = r.choice(
        [(rf"\sqrt{{{c}}}", rf" \sqrt {c}"), (r"\pi", r" \pi"), (rf"x+{c}", f" x + {c}"), (rf"!, {c}", f"!,{c}")]
    )
    wrong = [
        f"{a} {b}{root}",
        rf"{a}\,{b}{root}",
        rf"{a}\ {b}{tail}",
        f"{a}~{b}{root}",
        f"{a}{root}",
        f"{b}{a + 1}{root}",
    ]
    return f"{a}{b}{root}", [f"{a}{b}{root}", f"{a}{b}{tail}"], wrong
