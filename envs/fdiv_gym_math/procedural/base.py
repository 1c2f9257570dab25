"""Base of the procedural environments: levels, splits, answer forms, and the curriculum."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

import fdiv_gym as fg
from fdiv_gym.envs import Split
from fdiv_gym.rewards import AnswerFormat, extract, rational, squeeze
from fdiv_gym_math.procedural.spelling import plain_spelling

DRY_DRAWS = 3_000
"""Random draws in a row without a new problem after which a small space of problems counts as exhausted."""

DIGITS = frozenset("0123456789")
NOISE = 0.35
"""Share of random digits in a demonstration: the warm-started model learns the form of answers but is often wrong."""

MAX_ANSWER = 1_000
"""Characters; a longer answer is wrong."""

PLACES: Mapping[AnswerFormat, str] = {
    "whole": "Reply with the answer only.",
    "boxed": "Put the answer within \\boxed{}.",
    "hash": "End with a line that reads #### and the answer.",
    "answer-tag": "Put the answer between <answer> and </answer>.",
    "last-number": "The last number you write is your answer.",
}
"""What a prompt in words says about the place of the answer."""

_CLOSING = " \t\r\n=:?.!)}]$"


class Procedural(fg.Curriculum, fg.TextEnv):
    """Problems drawn at random for a level, judged exactly and in bounded time.

    A hash of its text decides the split of a problem: one in ten is held out, under any options, so the two splits
    have no problem in common. With ``curriculum`` training starts at level 1 and rises to ``level``.

    Attributes:
        levels: how many levels there are.
        instruction: the text before the problem if ``wording`` is ``sentence``.
    """

    class Options(fg.TextEnv.Options):
        """Options of every procedural environment."""

        level: int = pydantic.Field(1, ge=1, le=5)
        """Difficulty, 1 to 5; with ``curriculum`` the hardest one."""
        wording: Literal["bare", "sentence"] = "bare"
        """``bare``: the problem alone; ``sentence``: an instruction, then the problem."""
        answer: AnswerFormat = "whole"
        """The place of the answer in the response: ``whole``, ``boxed``, ``answer-tag``, ``hash``, ``last-number``."""
        curriculum: bool = False
        """Start at level 1 and change the level by the success rate."""
        promote_at: float = pydantic.Field(0.7, gt=0, le=1)
        """Success rate at the current level from which the next level opens."""
        demote_at: float = pydantic.Field(0.1, ge=0, lt=1)
        """Success rate below which the current level closes again."""
        window: int = pydantic.Field(64, ge=1)
        """Problems of the current level over which the success rate is taken."""
        train_tasks: int = pydantic.Field(2_000, ge=1)
        """Training problems of each level, if there are so many different ones."""
        heldout_tasks: int = pydantic.Field(256, ge=1)
        """Held-out problems of each level, if there are so many different ones."""
        seed: int = 0
        """Seed of the problems."""

    levels: ClassVar[int] = 5
    instruction: ClassVar[str] = "Solve the problem."
    options: Options
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "curriculum/open_level": "The hardest level of problems that is open, from 1 to the option level.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._open_level = 1 if self.options.curriculum else self.options.level
        self._recent: list[float] = []
        self._by_level: dict[int, list[fg.Task]] = {}

    # ---- for subclasses ---------------------------------------------------------------------------

    def problem(self, level: int, rng: np.random.Generator) -> tuple[str, str, dict[str, Any]]:
        """One problem: its bare text, its answer, and further data for ``is_right``."""
        raise NotImplementedError

    def is_right(self, task: fg.Task, answer: str) -> bool:
        """Whether ``answer``, at most 1 000 characters, stripped and in plain notation, is right."""
        raise NotImplementedError

    def prompt_of(self, text: str) -> str:
        """The prompt around the bare text of a problem."""
        if self.options.wording == "bare":
            return text
        return f"{self.instruction} {PLACES[self.options.answer]}\n{text}"

    def question_of(self, task: fg.Task) -> str:
        """The bare text of a problem, which is no answer to it; the last line of its prompt."""
        return task.text.rpartition("\n")[2]

    # ---- the contract of TextEnv ------------------------------------------------------------------

    def tasks(self, split: Split) -> Sequence[fg.Task]:
        """The problems of ``level``; with a curriculum those of all levels up to it, alternating between the levels."""
        first = 1 if self.options.curriculum else self.options.level
        levels = [self._of_level(level, split) for level in range(first, self.options.level + 1)]
        # Alternating, so that an evaluation on the first tasks covers all levels.
        return [task for row in itertools.zip_longest(*levels) for task in row if task is not None]

    def score(self, task: fg.Task, response: str) -> fg.Verdict:
        """1 for a right answer in the declared form, else 0."""
        answer, reason = self.answer_of(response)
        if answer is None:
            return fg.Verdict.scored(0.0, reason)
        if self.options.answer == "last-number" and ends_with(response, self.question_of(task)):
            return fg.Verdict.scored(0.0, "the answer repeats the question")
        return fg.Verdict.scored(float(self.is_right(task, answer)))

    def answer_of(self, response: str) -> tuple[str | None, str]:
        """The answer in a response in plain notation, or None and the reason."""
        found = extract(response, self.options.answer)
        if found.answer is None:
            return None, found.reason
        if len(found.answer) > MAX_ANSWER:
            return None, "the answer is too long"
        return plain_spelling(found.answer), ""

    def reference_response(self, task: fg.Task) -> str:
        """The answer in the declared form."""
        forms = {"boxed": "\\boxed{{{}}}", "hash": "#### {}", "answer-tag": "<answer>{}</answer>"}
        return forms.get(self.options.answer, "{}").format(task.answer)

    def vote(self, task: fg.Task, response: str) -> str | None:
        """The value of the answer, else its text; no vote without an answer."""
        answer, _ = self.answer_of(response)
        if answer is None:
            return None
        value = rational(answer)
        return answer if value is None else str(value)

    def demonstrations(self, count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
        """Training problems, with a curriculum of all levels; about one digit in three of an answer is random."""
        tasks = self.task_list("train")
        picked = [tasks[int(i)] for i in rng.integers(len(tasks), size=count)]
        return [(task.text, with_noise(self.reference_response(task), rng)) for task in picked]

    # ---- curriculum -------------------------------------------------------------------------------

    @property
    def adapts(self) -> bool:
        """Whether the option ``curriculum`` is set."""
        return bool(self.options.curriculum)

    @property
    def open_level(self) -> int:
        """The hardest level in use for training."""
        return self._open_level

    def choose_tasks(self, count: int, seed: int) -> list[fg.Task]:
        """Half of the tasks from the hardest open level, the rest from all easier levels, to retain those."""
        rng = np.random.default_rng(seed)
        chosen = []
        for _ in range(count):
            level = self._open_level
            if level > 1 and rng.random() < 0.5:
                level = int(rng.integers(1, level))
            pool = self._training_pool(level)
            chosen.append(pool[int(rng.integers(len(pool)))])
        return chosen

    def observe(self, outcomes: Sequence[tuple[fg.Task, float]]) -> None:
        """Count successes at the hardest open level; when the window is full, open the next level or close this one."""
        self._recent += [score for task, score in outcomes if task.data["level"] == self._open_level]
        if len(self._recent) < self.options.window:
            return
        rate = sum(self._recent) / len(self._recent)
        self._recent = []
        if rate >= self.options.promote_at:
            self._open_level = min(self._open_level + 1, self.options.level)
        elif rate < self.options.demote_at:
            self._open_level = max(self._open_level - 1, 1)

    def state_dict(self) -> dict[str, Any]:
        """The open level and the successes counted at it."""
        return {"open_level": self._open_level, "recent": list(self._recent)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the level and the counts of an earlier ``state_dict``."""
        self._open_level, self._recent = int(state["open_level"]), [float(x) for x in state["recent"]]

    # ---- problems ---------------------------------------------------------------------------------

    def _training_pool(self, level: int) -> list[fg.Task]:
        if not self._by_level:
            for task in self.task_list("train"):
                self._by_level.setdefault(int(task.data["level"]), []).append(task)
        return self._by_level[level]

    def _of_level(self, level: int, split: Split) -> list[fg.Task]:
        wanted = self.options.train_tasks if split == "train" else self.options.heldout_tasks
        rng = np.random.default_rng([self.options.seed, level, split == "heldout"])
        found: dict[str, fg.Task] = {}
        dry = 0
        while len(found) < wanted and dry < DRY_DRAWS:
            text, answer, data = self.problem(level, rng)
            dry += 1
            if text not in found and is_heldout(text) == (split == "heldout"):
                found[text] = fg.Task(self.prompt_of(text), answer, {**data, "level": level})
                dry = 0
        if not found:
            raise fg.EnvError(f"{self.registered_name()!r} found no {split} problem of level {level}")
        return list(found.values())


def with_noise(answer: str, rng: np.random.Generator) -> str:
    """An answer for a demonstration: each digit is random with probability ``NOISE``."""
    return "".join(str(rng.integers(10)) if c in DIGITS and rng.random() < NOISE else c for c in answer)


def same_whole_number(answer: str, reference: str) -> bool:
    """Whether both are the same whole number and the answer is no quotient, as ``6/3`` may be the question.

    Raises:
        EnvError: the reference is no number that ``rational`` reads.
    """
    wanted = rational(reference)
    if wanted is None:
        raise fg.EnvError(f"the reference {reference[:80]!r} is no number of at most 60 digits")
    return "/" not in answer and rational(squeeze(answer)) == wanted


def is_heldout(text: str) -> bool:
    """True for one problem in ten, by content: the same on every machine and for all options."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % 10 == 0


def ends_with(response: str, question: str) -> bool:
    """Whether a response ends with the question: the 12 of ``0+12=`` must not count as an answer."""
    return squeeze(response.rstrip(_CLOSING)).endswith(squeeze(question.rstrip(_CLOSING)))


def number_is_no_answer(policy: AnswerFormat) -> AnswerFormat:
    """Refuse ``last-number`` where the answer is an expression.

    Raises:
        ValueError: it is that policy.
    """
    if policy == "last-number":
        raise ValueError("the answer is an expression, not a number: choose whole, boxed, answer-tag or hash")
    return policy


def signed(value: int) -> str:
    """``+3`` or ``-3``."""
    return f"{value:+d}"


def nonzero(rng: np.random.Generator, size: int) -> int:
    """A number from -size to size, not 0."""
    value = int(rng.integers(1, size + 1))
    return value if rng.random() < 0.5 else -value
