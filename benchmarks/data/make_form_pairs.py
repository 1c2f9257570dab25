"""Writes ``forms.jsonl``: every rule of the verifier with right answers and near misses, two thirds right.

``realistic.jsonl`` holds the spellings that models use for the answers of word problems and of competition mathematics.
The result equals the committed files byte for byte.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import forms_of_numbers as numbers
import forms_of_structures as structures
import forms_of_wordings as wordings

HERE = Path(__file__).parent
Draw = Callable[[random.Random], numbers.Case]

FORMS: tuple[Draw, ...] = (
    numbers.noun_after_number, numbers.money, numbers.noun_in_reference, numbers.unit, numbers.speed, numbers.letter,
    numbers.number_markup, numbers.matrix_markup, numbers.fraction_markup, numbers.power_markup, numbers.base,
    numbers.logarithm_markup, numbers.clock, numbers.scale, numbers.percent, numbers.temperature, numbers.constants,
    structures.repeated_box, structures.joined_boxes, structures.unordered, structures.intervals,
    structures.one_interval,
    structures.family, structures.both_signs, structures.named_tuple, structures.all_equal, structures.choice,
    structures.valued_choice, structures.text, structures.equation, structures.unsolvable, structures.ratio,
    structures.line, structures.unevaluated, structures.symbol, structures.label, structures.gap,
    wordings.infix, wordings.repeating, wordings.converted,
    wordings.several_units, wordings.introduced, wordings.number_word, wordings.time_of_day,
)  # fmt: skip
REALISTIC: tuple[tuple[Draw, int], ...] = (
    (numbers.noun_after_number, 8), (numbers.money, 6), (numbers.number_markup, 4), (numbers.unit, 3),
    (numbers.percent, 2), (numbers.fraction_markup, 2), (structures.repeated_box, 3), (structures.choice, 2),
    (structures.text, 1), (structures.unordered, 2), (structures.one_interval, 2), (structures.both_signs, 1),
    (structures.named_tuple, 1), (structures.line, 1), (numbers.letter, 1), (numbers.matrix_markup, 1),
)  # fmt: skip
ENDINGS = (
    r"Therefore, the answer is $\boxed{{{}}}$.", r"So we get \[\boxed{{{}}}\]", r"The final answer is $\boxed{{{}}}$",
    r"**Answer:** \( \boxed{{{}}} \)", r"Hence \boxed{{{}}}",
)  # fmt: skip
STEPS = (
    "First we write down what is given.", "Let $x$ be the unknown and set up an equation.",
        "Expanding gives $a^2+2ab+b^2$.",
    "Adding the cases gives the total.", "We simplify both sides.", "That leaves the second condition.",
        "Each one costs $3.",
)  # fmt: skip


def draw(r: random.Random, kind: Draw) -> dict[str, object]:
    """One record."""
    reference, right, wrong = kind(r)
    correct = r.random() < 2 / 3
    answer = r.choice(right if correct else wrong)
    steps = " ".join(r.sample(STEPS, r.randint(0, 4)))
    ending = str(answer) if isinstance(answer, structures.Whole) else r.choice(ENDINGS).format(answer)
    return {"kind": kind.__name__, "reference": reference, "response": f"{steps} {ending}".strip(), "right": correct}


def main() -> None:
    """Write both files next to this one."""
    realistic = [kind for kind, weight in REALISTIC for _ in range(weight)]
    for name, kinds, size in (("forms", list(FORMS), 6600), ("realistic", realistic, 2000)):
        r = random.Random(f"fdiv-gym {name}")
        rows = [draw(r, kinds[index % len(kinds)]) for index in range(size)]
        (HERE / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
