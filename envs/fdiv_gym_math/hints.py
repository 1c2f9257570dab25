"""math/Hints-v0: arithmetic in several turns; a wrong answer gets a hint and another try."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fdiv_gym as fg
from fdiv_gym.rewards import rational
from fdiv_gym_math.procedural.arithmetic import Arithmetic


class Hints(fg.ConversationEnv):
    """The problems of math/Arithmetic-v0, with up to ``max_turns`` answers.

    The hint after a wrong answer is "too small", "too large" or "no number". The episode ends with a right answer
    or after the last turn. The last answer counts and scores 1 or 0.
    """

    class Options(fg.ConversationEnv.Options, Arithmetic.Options):
        """Those of the problems and of conversations."""

    options: Options
    default_turns = 3

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        own = {name: getattr(self.options, name) for name in Arithmetic.Options.model_fields}
        self.arithmetic = Arithmetic(**own)

    def tasks(self, split: Any) -> Sequence[fg.Task]:
        """Those of math/Arithmetic-v0."""
        return self.arithmetic.tasks(split)

    def begin(self, task: fg.Task) -> fg.Episode:
        """Tries at one problem."""
        return _Tries(self.arithmetic, task)

    def score(self, task: fg.Task, transcript: fg.Transcript) -> fg.Verdict:
        """The last answer counts."""
        return self.arithmetic.score(task, transcript.response)


class _Tries(fg.Episode):
    def __init__(self, arithmetic: Arithmetic, task: fg.Task) -> None:
        self._arithmetic, self._task = arithmetic, task

    def reply(self, response: str) -> str | None:
        """The hint, or None after a right answer."""
        if self._arithmetic.score(self._task, response).score == 1.0:
            return None
        answer, _ = self._arithmetic.answer_of(response)
        value = None if answer is None else rational(answer)
        right = rational(self._task.answer or "")
        if value is None or right is None or value == right:  # 24/2 is a wrong form of the answer 12
            return "\nno number\n"
        return "\ntoo small\n" if value < right else "\ntoo large\n"
