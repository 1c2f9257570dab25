"""The moves and the theory of Nim."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

Position = tuple[int, ...]
"""How many are left in each heap."""
Move = tuple[int, int]
"""The index of a heap, and how many are taken from it."""


def moves(position: Position) -> list[Move]:
    """All legal moves."""
    return [(heap, taken) for heap, left in enumerate(position) for taken in range(1, left + 1)]


def after(position: Position, move: Move) -> Position:
    """The position after a legal move."""
    heap, taken = move
    return (*position[:heap], position[heap] - taken, *position[heap + 1 :])


def is_won(position: Position, misere: bool) -> bool:
    """Whether the player to move wins by right moves.

    The last one taken wins; with ``misere`` it loses. Source: C. L. Bouton, Nim, a game with a complete mathematical
    theory, Annals of Mathematics 3 (1901): won is a position whose heaps, in binary and added without carrying, do not
    give 0; if ``misere`` and no heap has more than one left, a position with an even number of heaps.
    """
    if misere and max(position) <= 1:
        return sum(position) % 2 == 0
    return functools.reduce(operator.xor, position) != 0


def winning_moves(position: Position, misere: bool) -> list[Move]:
    """The moves after which the other player loses; none in a lost position."""
    return [move for move in moves(position) if not is_won(after(position, move), misere)]


def written(position: Sequence[int]) -> str:
    """A position as players read it: ``A3 B0 C5``."""
    return " ".join(f"{chr(ord('A') + i)}{left}" for i, left in enumerate(position))
