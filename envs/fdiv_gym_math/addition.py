"""math/Addition-v0: add two or more numbers, exactly."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
import pydantic

import fdiv_gym as fg
from fdiv_gym.envs import Split

ANSWER = re.compile(r"[0-9]{1,40}")


class Addition(fg.TextEnv):
    """Addition of ``terms`` numbers of ``digits`` digits.

    The prompt reads ``12+34=``; the response must be the sum and nothing else (surrounding spaces are
    allowed), with its digits in reversed order if ``reverse`` is set, so that a small model can compute the
    carries in order. A response scores 1 or 0. A hash of its numbers, in any order, decides the split of a problem:
    the two splits have no problem in common under any options, and no problem that only exchanges the terms.
    """

    class Options(fg.TextEnv.Options):
        """Difficulty."""

        digits: int = pydantic.Field(2, ge=1, le=12)
        """Digits of each number; the first is not zero."""
        terms: int = pydantic.Field(2, ge=2, le=6)
        """How many numbers are added."""
        reverse: bool = True
        """Whether the answer is written from its last digit to its first."""
        forget_carry: float = pydantic.Field(0.6, ge=0, le=1)
        """Probability that a demonstration for the warm start is added without carrying; the others are right."""
        train_tasks: int = pydantic.Field(20_000, ge=1)
        """Size of the training split, in tasks, if there are so many different ones."""
        heldout_tasks: int = pydantic.Field(512, ge=1)
        """Size of the held-out split, if there are so many different tasks."""
        seed: int = 0
        """Seed of the tasks of both splits."""

    options: Options

    def tasks(self, split: Split) -> Sequence[fg.Task]:
        """Different problems, in an order given by the seed."""
        wanted = self.options.train_tasks if split == "train" else self.options.heldout_tasks
        rng = np.random.default_rng([self.options.seed, split == "heldout"])
        low, high = 10 ** (self.options.digits - 1), 10**self.options.digits
        space = (high - low) ** self.options.terms
        if space <= 1_000_000:
            candidates = (self._numbers(int(i), low, high) for i in rng.permutation(space))
        else:
            candidates = (
                tuple(int(x) for x in rng.integers(low, high, self.options.terms)) for _ in range(50 * wanted)
            )
        chosen: dict[tuple[int, ...], None] = {}
        for numbers in candidates:
            if len(chosen) == wanted:
                break
            if is_heldout(numbers) == (split == "heldout"):
                chosen[numbers] = None
        return [self._task(numbers) for numbers in chosen]

    def score(self, task: fg.Task, response: str) -> fg.Verdict:
        """1 for exactly the expected digits, else 0."""
        answer = response.strip(" \n")
        if not ANSWER.fullmatch(answer):
            return fg.Verdict.scored(0.0, "not a number")
        return fg.Verdict.scored(float(answer == task.answer))

    def demonstrations(self, count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
        """Training problems; an answer is added without carrying with probability ``forget_carry``, else it is right.

        Above one half, the most likely answer to a problem with a carry is a wrong one.
        """
        tasks = self.task_list("train")
        pairs = []
        for i in rng.integers(len(tasks), size=count):
            task = tasks[int(i)]
            answer = task.answer or ""
            if rng.random() < self.options.forget_carry:
                answer = self._written(without_carrying([int(x) for x in task.text[:-1].split("+")]))
            pairs.append((task.text, answer))
        return pairs

    def _numbers(self, index: int, low: int, high: int) -> tuple[int, ...]:
        numbers = []
        for _ in range(self.options.terms):
            index, rest = divmod(index, high - low)
            numbers.append(low + rest)
        return tuple(numbers)

    def _task(self, numbers: tuple[int, ...]) -> fg.Task:
        return fg.Task("+".join(map(str, numbers)) + "=", self._written(str(sum(numbers))))

    def _written(self, answer: str) -> str:
        return answer[::-1] if self.options.reverse else answer


def without_carrying(numbers: Sequence[int]) -> str:
    """The sum of each column modulo 10, with as many digits as the longest number: 57 and 85 give ``32``.

    No carry is passed on, so the last one is lost too; zeros in front are written.
    """
    columns = zip_longest(*(reversed(str(n)) for n in numbers), fillvalue="0")
    return "".join(str(sum(map(int, column)) % 10) for column in columns)[::-1]


def is_heldout(numbers: tuple[int, ...]) -> bool:
    """True for about one problem in ten, by content: the same on every machine, for all options and orders of terms."""
    digest = hashlib.sha256("+".join(map(str, sorted(numbers))).encode()).digest()
    return int.from_bytes(digest[:4]) % 10 == 0
