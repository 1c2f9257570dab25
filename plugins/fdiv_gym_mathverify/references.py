"""References: whether answers can be compared with a reference at all.

If only the equal text could be scored, only right answers of such a task would enter a baseline.
"""

from __future__ import annotations

import re

from fdiv_gym.rewards import normalise
from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.texts import is_choice, is_text
from fdiv_gym_mathverify.units import split_unit

_PLAIN = re.compile(
    r"(?:\\(?:frac|sqrt|pi|cdot|times|infty|sin|cos|tan|ln|theta|alpha)(?![A-Za-z])"
    r"|[0-9A-Za-z{}()\[\]+\-*/^=,.: ]){1,300}"
)
_LOOSE = re.compile(
    r"[-+*/^=,:.]\s{0,3}(?:[+*/^=,:.)}\]]|\Z)|[({\[]\s{0,3}[*/^=,:)}\]]|\A\s{0,3}[*/^=,:]"
    r"|\{\s{0,3}0?\s{0,3}\}|/\s{0,3}0"
)
_NUMERAL = re.compile(r"[0-9]{1,9}")
_LETTER = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")


def is_plain(reference: str) -> bool:
    """Whether a reference is of a form that the workers always read; False may mean anything."""
    text = normalise(reference)
    value = split_unit(text, trusted=True)[0]
    if fast.parse_number(value) is not None or is_choice(text) or is_text(text):
        return True
    return bool(_PLAIN.fullmatch(value)) and not _LOOSE.search(value) and value.count("(") == value.count(")")


def probes(reference: str) -> tuple[str, ...]:
    """Wrong answers of the form of the reference: if none can be scored, no answer can."""
    text = normalise(reference)
    numbers = _NUMERAL.sub(lambda match: str(int(match.group()) + 1), text)
    # Every item of a list must differ: an equal one would not be read.
    everywhere = _LETTER.sub(_other_letter, numbers)
    other = _NUMERAL.sub(lambda match: str(int(match.group()) + 1), text, count=1)
    if other == text:
        other = _LETTER.sub(_other_letter, text, count=1)
    return (everywhere, other, "1", "x+1")


def _other_letter(match: re.Match[str]) -> str:
    return "q" if match.group() != "q" else "p"
