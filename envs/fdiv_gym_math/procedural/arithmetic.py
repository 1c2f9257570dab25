"""math/Arithmetic-v0: chains of sums, differences, products and exact quotients."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pydantic

import fdiv_gym as fg
from fdiv_gym.rewards import evaluate
from fdiv_gym_math.procedural.base import PLACES, Procedural, same_whole_number

LEVELS = {1: (2, 1), 2: (2, 2), 3: (3, 2), 4: (4, 2), 5: (4, 3)}
"""Level to number of terms and their greatest number of digits."""


class Arithmetic(Procedural):
    """The value of an expression such as ``12+3*45=``; always a whole number.

    Levels: 2 numbers of 1 digit, 2 of 2, 3 of 2, 4 of 2, 4 of 3; from level 4 on with brackets.
    """

    class Options(Procedural.Options):
        """Operators and sizes."""

        wording: Literal["bare", "sentence", "question"] = "bare"  # type: ignore[assignment]
        """``bare``: the problem alone; ``sentence``: an instruction, then the problem; ``question``: a question for a
        chat model, such as ``What is 17 + 25? Reply with the result only.``"""
        operators: str = pydantic.Field("+-*", pattern=r"^[-+*/]{1,4}$")
        """The operators, a choice of ``+-*/``; a quotient is always whole."""
        terms: int | None = pydantic.Field(None, ge=2, le=8)
        """How many numbers, instead of the level's."""
        digits: int | None = pydantic.Field(None, ge=1, le=6)
        """Largest number of digits, instead of the level's."""

    options: Options
    instruction = "Compute the value of the expression; multiplication and division come first."

    def problem(self, level: int, rng: np.random.Generator) -> tuple[str, str, dict[str, Any]]:
        """An expression whose every quotient is whole."""
        terms, digits = LEVELS[level]
        terms, digits = self.options.terms or terms, self.options.digits or digits
        operators = self.options.operators
        factor = int(rng.integers(10**digits))
        text = str(factor)
        for term in range(1, terms):
            operator, number = operators[int(rng.integers(len(operators)))], int(rng.integers(10**digits))
            if operator == "/":
                number = _divisor(factor, 10**digits, rng)
            text += f"{operator}{number}"
            # The dividend of a following division: the last factor, or its quotient.
            factor = factor // number if operator == "/" else number
            if level >= 4 and term < terms - 1 and "(" not in text and rng.random() < 0.5:
                text, factor = f"({text})", int(evaluate(text).value)
        return f"{text}=", str(evaluate(text).value), {}

    def prompt_of(self, text: str) -> str:
        """The prompt around an expression."""
        if self.options.wording != "question":
            return super().prompt_of(text)
        anywhere = self.options.answer in ("whole", "last-number")
        place = "Reply with the result only." if anywhere else PLACES[self.options.answer]
        return f"What is {_spaced(text)}? {place}"

    def question_of(self, task: fg.Task) -> str:
        """The expression in a prompt."""
        if self.options.wording != "question":
            return super().question_of(task)
        return task.text.removeprefix("What is ").partition("?")[0]

    def is_right(self, task: fg.Task, answer: str) -> bool:
        """Whether it is the same whole number, not a quotient."""
        return same_whole_number(answer, task.answer or "")


def _spaced(text: str) -> str:
    """``17+25=`` as ``17 + 25``."""
    return re.sub(r"([-+*/])", r" \1 ", text.removesuffix("="))


def _divisor(number: int, below: int, rng: np.random.Generator) -> int:
    divisors = [d for d in range(1, min(abs(number) + 1, below)) if number % d == 0] or [1]
    return divisors[int(rng.integers(len(divisors)))]
