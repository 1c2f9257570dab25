"""math/Hints-v0: arithmetic in several turns; a wrong answer gets a hint and another try."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pydantic

import fdiv_gym as fg
from fdiv_gym.envs import Player, Split
from fdiv_gym.rewards import evaluate, rational
from fdiv_gym_math.procedural.arithmetic import Arithmetic

_LAST = re.compile(r"[-+*/][0-9]+=?$")
NO_NUMBER, TOO_SMALL, TOO_LARGE = "no number", "too small", "too large"


class Hints(fg.Curriculum, fg.ConversationEnv):
    """The problems of math/Arithmetic-v0, with up to ``max_turns`` answers.

    The hint after a wrong answer is "too small", "too large" or "no number". The episode ends with a right answer
    or after the last try, which belongs to its rules: it is not truncated. The last answer counts and scores 1 or 0.
    """

    class Options(fg.ConversationEnv.Options, Arithmetic.Options):
        """Those of the problems and of conversations."""

        careless: float = pydantic.Field(0.8, ge=0, le=1)
        """Probability that an answer of a demonstration overlooks the last number of the problem, also after hints."""

    options: Options
    metric_meanings = Arithmetic.metric_meanings
    default_turns = 3

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        own = {name: getattr(self.options, name) for name in Arithmetic.Options.model_fields}
        self.arithmetic = Arithmetic(**own)

    def tasks(self, split: Split) -> Sequence[fg.Task]:
        """Those of math/Arithmetic-v0."""
        return self.arithmetic.tasks(split)

    def begin(self, task: fg.Task) -> fg.Episode:
        """Tries at one problem."""
        return _Tries(self.arithmetic, task, self.max_turns)

    def score(self, task: fg.Task, transcript: fg.Transcript) -> fg.Verdict:
        """1 if the last answer is right, in the declared form, else 0."""
        return self.arithmetic.score(task, transcript.response)

    def vote(self, task: fg.Task, response: str) -> str | None:
        """The value of the last answer, else its text; no vote without an answer."""
        return self.arithmetic.vote(task, response)

    def reference_player(self, task: fg.Task) -> Player:
        """Gives the right answer at once."""
        return lambda messages: self.arithmetic.reference_response(task)

    def demonstrations(self, count: int, rng: np.random.Generator) -> list[Sequence[fg.Message]]:
        """Training problems, with a curriculum of all levels, and a pupil who often overlooks the last number.

        An answer is right with probability ``1 - careless``, and ends the conversation then; else it is the value
        without the last number, again and again in spite of the hint. Above one half, the most likely answer is wrong.
        """
        tasks = self.task_list("train")
        return [self._demonstrated(tasks[int(i)], rng) for i in rng.integers(len(tasks), size=count)]

    def _demonstrated(self, task: fg.Task, rng: np.random.Generator) -> list[fg.Message]:
        slip = fg.Task(task.prompt, overlooking(self.arithmetic.question_of(task)))
        tries, messages = _Tries(self.arithmetic, task, self.max_turns), list(task.messages)
        while True:
            of = slip if rng.random() < self.options.careless else task
            messages.append(fg.Message("assistant", self.arithmetic.reference_response(of)))
            hint = tries.reply(messages[-1].content)
            if hint is None:
                return messages
            messages.append(fg.Message("user", hint))

    # ---- curriculum: that of the problems ---------------------------------------------------------

    @property
    def adapts(self) -> bool:
        """Whether the option ``curriculum`` is set."""
        return self.arithmetic.adapts

    @property
    def open_level(self) -> int:
        """The hardest level in use for training."""
        return self.arithmetic.open_level

    def choose_tasks(self, count: int, seed: int) -> list[fg.Task]:
        """Half of the tasks from the hardest open level, the rest from all easier levels."""
        return self.arithmetic.choose_tasks(count, seed)

    def observe(self, outcomes: Sequence[tuple[fg.Task, float]]) -> None:
        """Count successes at the hardest open level; an episode counts as its last answer."""
        self.arithmetic.observe(outcomes)

    def state_dict(self) -> dict[str, Any]:
        """The open level and the successes counted at it."""
        return self.arithmetic.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the level and the counts of an earlier ``state_dict``."""
        self.arithmetic.load_state_dict(state)


class _Tries(fg.Episode):
    def __init__(self, arithmetic: Arithmetic, task: fg.Task, most: int) -> None:
        self._arithmetic, self._task, self._most = arithmetic, task, most
        self._right, self._tries = False, 0

    def reply(self, response: str) -> str | None:
        """The hint, or None after a right answer and after the last try."""
        self._tries += 1
        if self._arithmetic.score(self._task, response).score == 1.0:
            self._right = True
            return None
        if self._tries == self._most:
            return None
        answer, _ = self._arithmetic.answer_of(response)
        value = None if answer is None else rational(answer)
        right = rational(self._task.answer or "")
        if value is None or right is None or value == right:  # 24/2 is a wrong form of the answer 12
            return NO_NUMBER
        return TOO_SMALL if value < right else TOO_LARGE

    def outcome(self) -> dict[str, Any]:
        """Whether the problem was solved, and in how many tries."""
        return {"solved": self._right, "tries": self._tries}


def overlooking(question: str) -> str:
    """The value of an expression without its last number: ``8`` for ``5+3-2=``."""
    return str(evaluate(_LAST.sub("", question.replace(" ", ""))).value)
