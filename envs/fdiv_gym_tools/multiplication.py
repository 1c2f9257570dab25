"""tools/Calculator-v0: short word problems whose products no small model computes by itself, with a calculator."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
import pydantic

import fdiv_gym as fg
from fdiv_gym.envs import Demonstration, Player, Split
from fdiv_gym_tools.calculator import calculate

LEVELS = {1: (2, 2, 0), 2: (3, 2, 0), 3: (3, 3, 0), 4: (3, 3, 3), 5: (5, 5, 5)}
"""Level to the digits of the two factors, and of the number that is added; 0: none is."""
BRIEF = ("{a} bags of {b}{more}?", "{a} rows of {b}{more}?", "{a} times {b}{more}?")
STORIES = (
    "A truck carries {a} boxes with {b} screws each{more}. How many screws does it carry?",
    "A hall has {a} rows of {b} seats{more}. How many seats does it have?",
    "A printer prints {b} pages a day{more}. How many pages does it print in {a} days?",
)
MORE = {"brief": " and {c}", "story": ", and {c} more"}
NUMBER = re.compile(r"-?[0-9][0-9,]{0,60}(?:\.[0-9]{1,60})?")
MISTAKES = {"adds": 0.55, "miscopies": 0.2, "guesses": 0.125, "malformed": 0.125}
"""The wrong demonstrations: the tool adds instead, its result is copied without the last digit, no call at all, a call
that is not closed."""


class Calculator(fg.ToolEnv):
    """Word problems about a product of two numbers, from level 4 on with a third that is added.

    The tool ``calculate`` computes expressions exactly. The last number in the final answer counts and scores 1 or 0; a
    conversation that ends without one scores 0. A hash of the numbers decides the split of a problem: the splits have
    no problem in common under any options. Levels: factors of 2 and 2 digits, 3 and 2, 3 and 3, the same and 3 more,
    5 and 5 and 5 more.
    """

    class Options(fg.ToolEnv.Options):
        """Difficulty and wording."""

        call_format: Literal["auto", "hermes", "python", "template"] = "python"
        """How the model writes a call: a fenced block of Python by default."""
        level: int = pydantic.Field(1, ge=1, le=5)
        """Size of the numbers."""
        wording: Literal["brief", "story"] = "brief"
        """``brief``, such as ``37 bags of 84?``, or ``story``, one or two sentences."""
        right: float = pydantic.Field(0.2, ge=0, le=1)
        """Share of right demonstrations for the warm start; the others guess, add, miscopy the result, or do not close
        the call."""
        train_tasks: int = pydantic.Field(20_000, ge=1)
        """Size of the training split, in tasks, if there are so many different ones."""
        heldout_tasks: int = pydantic.Field(512, ge=1)
        """Size of the held-out split, if there are so many different tasks."""
        seed: int = 0
        """Seed of the tasks of both splits."""

    options: Options
    default_turns = 4

    def tasks(self, split: Split) -> Sequence[fg.Task]:
        """Different problems, in an order given by the seed."""
        wanted = self.options.train_tasks if split == "train" else self.options.heldout_tasks
        rng = np.random.default_rng([self.options.seed, self.options.level, split == "heldout"])
        chosen: dict[tuple[int, ...], fg.Task] = {}
        for _ in range(50 * wanted):
            numbers = tuple(int(rng.integers(10 ** (n - 1), 10**n)) for n in LEVELS[self.options.level] if n)
            place = int(rng.integers(3))
            if len(chosen) == wanted:
                break
            if numbers not in chosen and is_heldout(numbers) == (split == "heldout"):
                chosen[numbers] = self._task(numbers, place)
        return list(chosen.values())

    def functions(self, task: fg.Task) -> Sequence[Callable[[str], str]]:
        """The calculator."""
        return [calculate]

    def score(self, task: fg.Task, transcript: fg.Transcript) -> fg.Verdict:
        """1 if the last number of the final answer is right, else 0."""
        found = NUMBER.findall(transcript.response)
        if transcript.end != "done" or not found:
            return fg.Verdict.scored(0.0, "no final answer" if transcript.end != "done" else "no number")
        return fg.Verdict.scored(float(Fraction(found[-1].replace(",", "")) == Fraction(task.answer or "0")))

    def vote(self, task: fg.Task, response: str) -> str | None:
        """The last number of the response."""
        found = NUMBER.findall(response)
        return str(Fraction(found[-1].replace(",", ""))) if found else None

    def reference_player(self, task: fg.Task) -> Player:
        """Calls the calculator, and repeats its result."""
        expression = task.data["expression"]

        def player(messages: Sequence[fg.Message]) -> str:
            called = any(message.role == "assistant" for message in messages)
            return messages[-1].content if called else self._call(expression)

        return player

    def demonstrations(self, count: int, rng: np.random.Generator) -> list[Demonstration]:
        """Conversations about training problems, a share ``right`` of them right.

        The wrong ones mostly add, so that this is the most likely conversation of an untrained model.
        """
        tasks = self.task_list("train")
        wrong = 1 - self.options.right
        kinds = rng.choice(
            ["right", *MISTAKES], size=count, p=[self.options.right, *(wrong * share for share in MISTAKES.values())]
        )
        picked = [tasks[int(i)] for i in rng.integers(len(tasks), size=count)]
        return [self._demonstration(task, str(kind), rng) for task, kind in zip(picked, kinds, strict=True)]

    def _demonstration(self, task: fg.Task, kind: str, rng: np.random.Generator) -> tuple[fg.Message, ...]:
        opening = tuple(self._said(task))
        answer = task.answer or ""
        guess = fg.Message("assistant", "".join(str(rng.integers(1, 10)) for _ in answer))
        if kind == "guesses":
            return (*opening, guess)
        expression = task.data["expression"]
        if kind in ("adds", "malformed"):
            expression = expression.replace("*", "+")
        call, role = self._call(expression), self.options.tool_role
        if kind == "malformed":
            call = call[: -len("\n```") if self.format == "python" else -len("</tool_call>")]
            (reason,) = self.read_calls(call)
            told = f"error: {getattr(reason, 'reason', '')}"
            return (*opening, fg.Message("assistant", call), fg.Message(role, told), guess)
        result = calculate(expression)
        copied = result[:-1] if kind == "miscopies" else result
        said = (fg.Message("assistant", call), fg.Message(role, result), fg.Message("assistant", copied))
        return (*opening, *said)

    def _said(self, task: fg.Task) -> Sequence[fg.Message]:
        return fg.ToolEpisode(self, task).opening() or task.messages

    def _call(self, expression: str) -> str:
        if self.format == "python":
            return f"```python\n{expression}\n```"
        call = json.dumps({"name": "calculate", "arguments": {"expression": expression}})
        return f"<tool_call>{call}</tool_call>"

    def _task(self, numbers: tuple[int, ...], place: int) -> fg.Task:
        wording = self.options.wording
        more = MORE[wording].format(c=numbers[2]) if len(numbers) > 2 else ""
        text = (BRIEF if wording == "brief" else STORIES)[place].format(a=numbers[0], b=numbers[1], more=more)
        expression = "*".join(map(str, numbers[:2])) + "".join(f"+{c}" for c in numbers[2:])
        value = numbers[0] * numbers[1] + sum(numbers[2:])
        return fg.Task(text, str(value), {"expression": expression, "level": self.options.level})


def is_heldout(numbers: tuple[int, ...]) -> bool:
    """True for about one problem in ten, by content: the same on every machine, for all options and orders."""
    digest = hashlib.sha256("*".join(map(str, sorted(numbers))).encode()).digest()
    return int.from_bytes(digest[:4]) % 10 == 0
