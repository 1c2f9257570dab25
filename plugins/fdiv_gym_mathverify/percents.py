r"""Percents: ``50\%`` is 0.5, and a bare 50 may answer "what percent"."""

from __future__ import annotations

from fractions import Fraction

from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.comparison import Comparison, raise_unless


def compare_percent(value: str, given: str, marked: bool, given_marked: bool, comparison: Comparison) -> None:
    """Compare two values of which at least one has a percent mark.

    Raises:
        Mismatch: they differ, or the answer is not evaluated.
    """
    if given_marked:
        comparison.refuse_unfinished(value, given)
    wanted, number = fast.parse_number(value), fast.parse_number(given)
    if marked == given_marked or wanted is None or number is None:
        comparison.add(value, given, finished=True)
        return
    # One side only has the mark: 50% is 0.5, and "what percent?" is answered by a bare 50.
    bare = wanted.value == number.value and abs(wanted.value) >= 1
    scale = Fraction(1, 100)
    first = wanted.value * (scale if marked else 1)
    second = number.value * (scale if given_marked else 1)
    raise_unless(bare or first == second, "different percentage")
