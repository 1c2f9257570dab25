"""games/Mastermind-v0: find a hidden code by guesses; each is answered with how much of it is right."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

import fdiv_gym as fg
from fdiv_gym.envs import Player, Split
from fdiv_gym_games.codes import LETTERS, MOST_CODES, Answer, Codes, Feedback, codes_of, compare
from fdiv_gym_games.splits import part

LONGEST = 100
"""Characters of a response that is read as a guess."""
_COUNTS = re.compile(r"([0-9])[^0-9]+([0-9])")
_MARKS = "-o+"  # by what a symbol is worth: absent, misplaced, exact


class Mastermind(fg.ConversationEnv):
    """Mastermind: a code of ``length`` symbols out of ``symbols``, which may repeat, is found by guesses.

    A guess is answered with the number of symbols that are right at their place (exact), and of further ones that are
    in the code at another place (misplaced); with ``feedback = "marks"``, with the guess and a mark behind each symbol:
    ``+`` exact, ``o`` misplaced, ``-`` neither. A response that is no code is told so and takes a turn. A code found
    within ``max_turns`` guesses scores 1. One code in five is held out; this depends on the size of the codes only.

    Source: M. Meirovitz, 1970; D. E. Knuth, The computer as Master Mind, Journal of Recreational Mathematics 9 (1977).
    """

    class Options(fg.ConversationEnv.Options):
        """The size of the codes and what is scored."""

        length: int = pydantic.Field(4, ge=2, le=6)
        """Symbols in a code."""
        symbols: int = pydantic.Field(6, ge=2, le=10)
        """Different symbols, the first letters of the alphabet; there may be 4096 codes at most."""
        feedback: Feedback = "counts"
        """Answer a guess with the two numbers, or with a mark for each symbol, which is much easier to use."""
        partial_credit: bool = False
        """Score a code that was not found by the largest share of exact symbols in a guess, halved."""
        wording: Literal["bare", "sentence"] = "bare"
        """How the rules are told: ``sentence`` states them in words, for models that can read."""
        careless: float = pydantic.Field(0.6, ge=0, le=1)
        """Probability that a guess of a demonstration repeats the one before; the others agree with all answers."""

        @pydantic.model_validator(mode="after")
        def _few_enough(self) -> Mastermind.Options:
            if self.symbols**self.length > MOST_CODES:
                raise ValueError(
                    f"there are {self.symbols**self.length} codes of {self.length} symbols out of {self.symbols}, "
                    f"at most {MOST_CODES} are possible: decrease length or symbols"
                )
            return self

    options: Options
    default_turns = 10
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "episode/solved": "Mastermind: the share of games in which the code was found.",
        "episode/guesses": "Mastermind: guesses in a game, without malformed ones.",
        "episode/malformed": "Mastermind: responses in a game that were no code.",
    }

    def tasks(self, split: Split) -> Sequence[fg.Task]:
        """The codes of a split, one each."""
        letters, length = LETTERS[: self.options.symbols], self.options.length
        prompt = f"{length} of {letters}:"
        if self.options.wording == "sentence":
            answered = (
                "the number of letters that are right and at their place (exact), and of further letters that are in "
                "the code at another place (misplaced)"
                if self.options.feedback == "counts"
                else "a mark behind each letter: + it is right and at its place, o it is in the code at another place, "
                "- neither; each letter of the code counts once"
            )
            prompt = (
                f"Find my secret code of {length} letters, each one of {letters}; letters may repeat. I answer a guess "
                f"with {answered}. You have {self.max_turns} guesses. Reply with a guess only."
            )
        # All prompts are equal: the hidden code says whether two tasks are the same.
        return [
            fg.Task(prompt, code, {"content_hash": hashlib.sha256(f"{letters} {code}".encode()).hexdigest()[:16]})
            for code in part(self._codes.all, split)
        ]

    def begin(self, task: fg.Task) -> fg.Episode:
        """A game with the task's code."""
        return _Game(self.options, task.answer or "", self.max_turns)

    def score(self, task: fg.Task, transcript: fg.Transcript) -> fg.Verdict:
        """1 for a code that was found, else 0 or the partial credit; the guesses are compared again."""
        game = _Game(self.options, task.answer or "", self.max_turns)
        for response in transcript.responses:
            game.reply(response)
        if game.solved:
            return fg.Verdict.scored(1.0)
        share = game.best / self.options.length / 2 if self.options.partial_credit else 0.0
        return fg.Verdict.scored(share, "the code was not found")

    @property
    def _codes(self) -> Codes:
        return codes_of(self.options.length, self.options.symbols, self.options.feedback)

    def vote(self, task: fg.Task, response: str) -> str | None:
        """None: the last guess of a won game is the code, which the player was told."""
        return None

    def reference_player(self, task: fg.Task) -> Player:
        """Guesses the first code, by the alphabet, that agrees with all answers.

        It finds any code of the default size within 9 guesses.
        """
        codes = self._codes

        def player(messages: Sequence[fg.Message]) -> str:
            return codes.all[int(codes.consistent(history_of(messages, codes))[0])]

        return player

    def demonstrations(self, count: int, rng: np.random.Generator) -> list[Sequence[fg.Message]]:
        """Games on training codes by a player who often repeats the last guess, whatever the answer.

        The other guesses are drawn from the codes that agree with all answers. With ``careless`` above one half the
        most likely guess is useless.
        """
        tasks = self.task_list("train")
        return [self._demonstrated(tasks[int(i)], rng) for i in rng.integers(len(tasks), size=count)]

    def _demonstrated(self, task: fg.Task, rng: np.random.Generator) -> list[fg.Message]:
        codes = self._codes
        game = _Game(self.options, task.answer or "", self.max_turns)
        messages = list(task.messages)
        history: list[tuple[str, Answer]] = []
        for _ in range(self.max_turns):
            if history and rng.random() < self.options.careless:
                guess = history[-1][0]
            else:
                guess = codes.all[int(rng.choice(codes.consistent(history)))]
            messages.append(fg.Message("assistant", guess))
            said = game.reply(guess)
            if said is None:
                break
            messages.append(fg.Message("user", said))
            history.append((guess, compare(task.answer or "", guess, codes.feedback)))
        return messages if messages[-1].role == "assistant" else messages[:-1]


class _Game(fg.Episode):
    """One game; it also counts what was guessed."""

    def __init__(self, options: Mastermind.Options, code: str, max_turns: int) -> None:
        self._options, self._code, self._left = options, code, max_turns
        self._letters = LETTERS[: options.symbols]
        self.solved, self.guesses, self.malformed, self.best = False, 0, 0, 0

    def reply(self, response: str) -> str | None:
        """The answer to a guess; None when the code is found, and after the last turn, when the game is lost."""
        said = self._answer(response)
        self._left -= 1
        return said if self._left else None

    def _answer(self, response: str) -> str | None:
        guess = guess_of(response, self._options.length, self._letters)
        if guess is None:
            self.malformed += 1
            sentence = f"That is no code: reply with {self._options.length} letters, each one of {self._letters}."
            return sentence if self._options.wording == "sentence" else "no code:"
        self.guesses += 1
        exact, misplaced = compare(self._code, guess)
        self.best = max(self.best, exact)
        if guess == self._code:
            self.solved = True
            return None
        if self._options.feedback == "marks":
            worths = compare(self._code, guess, "marks")
            shown = "".join(symbol + _MARKS[worth] for symbol, worth in zip(guess, worths, strict=True))
            return shown if self._options.wording == "sentence" else f"{shown}:"
        return (
            f"exact: {exact}, misplaced: {misplaced}"
            if self._options.wording == "sentence"
            else f"{exact} {misplaced}:"
        )

    def outcome(self) -> dict[str, Any]:
        """Whether the code was found, and in how many guesses."""
        return {"solved": self.solved, "guesses": self.guesses, "malformed": self.malformed}


def guess_of(response: str, length: int, letters: str) -> str | None:
    """The code in a response that holds nothing else, in any case and with any spaces; None if there is none."""
    if len(response) > LONGEST:
        return None
    guess = [symbol.upper() for symbol in response if not symbol.isspace()]  # one by one: the capital of "ﬀ" is "FF"
    return "".join(guess) if len(guess) == length and {*guess} <= {*letters} else None


def history_of(messages: Sequence[fg.Message], codes: Codes) -> list[tuple[str, Answer]]:
    """The guesses of a game and their answers, as the messages say."""
    found = []
    for said, answered in itertools.pairwise(messages):
        guess = guess_of(said.content, codes.length, codes.letters) if said.role == "assistant" else None
        answer = _answer_of(answered.content, codes)
        if guess is not None and answer is not None:
            found.append((guess, answer))
    return found


def _answer_of(text: str, codes: Codes) -> Answer | None:
    if codes.feedback == "counts":
        numbers = _COUNTS.search(text)
        return numbers and (int(numbers[1]), int(numbers[2]))
    shown = text[1 : 2 * codes.length : 2]
    return tuple(map(_MARKS.index, shown)) if len(shown) == codes.length and set(shown) <= set(_MARKS) else None
