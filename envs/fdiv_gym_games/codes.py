"""The codes of Mastermind, how two of them are compared, and which agree with the answers to earlier guesses."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LETTERS = "ABCDEFGHIJ"
MOST_CODES = 4096
"""The table of all comparisons has the square of this number of bytes."""


def compare(code: str, guess: str) -> tuple[int, int]:
    """How many symbols of a guess are right: (exact, misplaced).

    Exact ones are at their place. Misplaced are further ones that are in the code at another place; each symbol of the
    code counts once.
    """
    exact = sum(a == b for a, b in zip(code, guess, strict=True))
    common = sum(min(code.count(symbol), guess.count(symbol)) for symbol in set(guess))
    return exact, common - exact


class Codes:
    """All codes of one size, in alphabetical order.

    Args:
        length: symbols in a code.
        symbols: different symbols.
    """

    def __init__(self, length: int, symbols: int) -> None:
        self.length, self.letters = length, LETTERS[:symbols]
        self.all = ["".join(code) for code in itertools.product(self.letters, repeat=length)]
        self._index = {code: i for i, code in enumerate(self.all)}
        digits = np.array([[self.letters.index(s) for s in code] for code in self.all], dtype=np.int8)
        exact = sum((digits[:, None, place] == digits[None, :, place]).astype(np.int8) for place in range(length))
        counts = [(digits == symbol).sum(1).astype(np.int8) for symbol in range(symbols)]
        common = sum(np.minimum(count[:, None], count[None, :]) for count in counts)
        self._answers: NDArray[np.int8] = exact * (length + 1) + common - exact

    def consistent(self, history: Sequence[tuple[str, tuple[int, int]]]) -> NDArray[np.intp]:
        """Indices in ``all`` of the codes to which every earlier guess would have got the answer that it got."""
        possible = np.ones(len(self.all), dtype=bool)
        for guess, (exact, misplaced) in history:
            possible &= self._answers[self._index[guess]] == exact * (self.length + 1) + misplaced
        return np.flatnonzero(possible)


@functools.lru_cache(maxsize=4)
def codes_of(length: int, symbols: int) -> Codes:
    """The codes of a size, computed once."""
    return Codes(length, symbols)
