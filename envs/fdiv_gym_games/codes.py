"""The codes of Mastermind, how a guess is answered, and which codes agree with the answers to earlier guesses."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Feedback = Literal["counts", "marks"]
Answer = tuple[int, ...]
LETTERS = "ABCDEFGHIJ"
MOST_CODES = 4096
EXACT, MISPLACED, ABSENT = 2, 1, 0


def marks(code: str, guess: str) -> Answer:
    """What each symbol of a guess is worth: ``EXACT`` at its place, ``MISPLACED`` or ``ABSENT``.

    Misplaced ones are in the code at another place; each symbol of the code counts once, for exact ones first and then
    from left to right.
    """
    left = [a for a, b in zip(code, guess, strict=True) if a != b]
    found = []
    for a, b in zip(code, guess, strict=True):
        if a != b and b in left:
            left.remove(b)
            found.append(MISPLACED)
        else:
            found.append(EXACT if a == b else ABSENT)
    return tuple(found)


def compare(code: str, guess: str, feedback: Feedback = "counts") -> Answer:
    """The answer to a guess: the marks, or how many are exact and how many misplaced."""
    each = marks(code, guess)
    return each if feedback == "marks" else (each.count(EXACT), each.count(MISPLACED))


class Codes:
    """All codes of one size, in alphabetical order.

    Args:
        length: symbols in a code.
        symbols: different symbols.
        feedback: how guesses are answered.
    """

    def __init__(self, length: int, symbols: int, feedback: Feedback = "counts") -> None:
        self.length, self.letters, self.feedback = length, LETTERS[:symbols], feedback
        self.all = ["".join(code) for code in itertools.product(self.letters, repeat=length)]
        self._digits = np.array([[self.letters.index(s) for s in code] for code in self.all], dtype=np.int8)
        self._known: dict[str, NDArray[np.int8]] = {}

    def consistent(self, history: Sequence[tuple[str, Answer]]) -> NDArray[np.intp]:
        """Indices in ``all`` of the codes to which every earlier guess would have got the answer that it got."""
        possible = np.ones(len(self.all), dtype=bool)
        for guess, answer in history:
            possible &= (self._answers(guess) == answer).all(1)
        return np.flatnonzero(possible)

    def _answers(self, guess: str) -> NDArray[np.int8]:
        """The answer of every code to a guess, (codes, numbers of an answer)."""
        if guess not in self._known:
            digits = np.array([self.letters.index(symbol) for symbol in guess])
            each = np.where(self._digits == digits, EXACT, ABSENT).astype(np.int8)
            for symbol in set(digits.tolist()):
                places = np.flatnonzero(digits == symbol)
                left = (self._digits == symbol).sum(1) - (each[:, places] == EXACT).sum(1)
                for place in places:
                    misplaced = (each[:, place] != EXACT) & (left > 0)
                    each[misplaced, place] = MISPLACED
                    left -= misplaced
            counts = np.stack([(each == EXACT).sum(1), (each == MISPLACED).sum(1)], 1).astype(np.int8)
            self._known[guess] = each if self.feedback == "marks" else counts
        return self._known[guess]


@functools.lru_cache(maxsize=4)
def codes_of(length: int, symbols: int, feedback: Feedback = "counts") -> Codes:
    """The codes of a size, made once."""
    return Codes(length, symbols, feedback)
