r"""Quantities: ``300 \text{ cm}`` for ``3 \text{ m}``, ``2 \text{ hours } 30 \text{ minutes}`` for 2.5 hours.

A unit is converted only where both sides name one of the same dimension, and by an exact factor. Years and days,
gallons and litres have none that every reader would use: they are different dimensions here.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.comparison import Comparison, raise_unless
from fdiv_gym_mathverify.units import MEASURES, split_unit, unit_name

_METRES = {"mm": "0.001", "cm": "0.01", "dm": "0.1", "m": "1", "km": "1000", "in": "0.0254"}
_FEET = {"ft": "0.3048", "yd": "0.9144", "mi": "1609.344"}
_SIZES: dict[str, dict[str, str]] = {
    "length": _METRES | _FEET,
    "mass": {"mg": "0.001", "g": "1", "kg": "1000", "oz": "28.349523125", "lb": "453.59237"},
    "time": {"s": "1", "min": "60", "h": "3600", "day": "86400", "week": "604800"},
    "calendar": {"month": "1", "year": "12"},
    "length3": {"ml": "0.000001", "l": "0.001"},
    "kitchen": {"teaspoon": "1", "tablespoon": "3", "cup": "48", "pint": "96", "quart": "192", "gal": "768"},
    "money": {"cent": "1", "$": "100"},
    "angle": {"deg": "1"},
    "radians": {"rad": "1"},
}
_UNITS = {name: (dimension, Fraction(size)) for dimension, row in _SIZES.items() for name, size in row.items()}
_RATES = {"mph": "mi per h", "kmph": "km per h"}
_POWERED = re.compile(r"([a-z$]{1,12})([23])?\Z")
_VALUE = (
    r"(\$?[0-9]{1,12}(?:\.[0-9]{1,6})?(?: ?\\frac\{[0-9]{1,6}\}\{[0-9]{1,6}\})?|\\frac\{[0-9]{1,6}\}\{[0-9]{1,6}\})"
)
_PART = re.compile(rf"{_VALUE} ?([A-Za-z]{{1,12}})?\.? ?(,? ?and(?![A-Za-z])|,)? ?")
_BEGINS = re.compile(r"(?:\\text ?\{ ?)?\$?[0-9]{1,12}[^0-9]{1,60}[0-9]|\\frac")
_GROUP = re.compile(r"\\text ?\{([^{}]{0,60})\}")
_SPACES = re.compile(r"[ ~]{1,100}")
_MIXED = re.compile(r"([0-9]{1,12}) ?\\frac\{([0-9]{1,6})\}\{([0-9]{1,6})\}\Z")
_LONGEST = 120
_MOST_PARTS = 4


class Size(NamedTuple):
    """What a unit measures, and how much one of it is in the unit of that dimension."""

    dimension: str
    value: Fraction


def size_of(unit: str) -> Size | None:
    """The size of a unit that ``unit_name`` gave; None if it is not converted."""
    names = _RATES.get(unit, unit).split(" per ")
    size = _simple(names[0]) if 0 < len(names) < 3 else None
    if size is None or len(names) == 1:
        return size
    per = _simple(names[1], each="time")
    if per is None or not per.dimension.startswith("time"):
        return None
    return Size(f"{size.dimension} per {per.dimension}", size.value / per.value)


def compare_units(gold: tuple[str, str], pred: tuple[str, str], comparison: Comparison) -> bool:
    """Whether two units are the same, so that their values are left to compare.

    If the unit of the answer can be converted, the values are compared here.

    Args:
        gold: value and unit of the reference.
        pred: value and unit of the answer.
        comparison: it receives the pair of converted values if they are not plain numbers.

    Raises:
        Mismatch: the units measure different things, or the converted value is another one.
    """
    (value, unit), (given, given_unit) = gold, pred
    if unit == given_unit or _same_but_measure(unit, given_unit) or (given_unit == "$" and unit.startswith("$ per ")):
        return True
    wanted, stated = size_of(unit), size_of(given_unit)
    reason = f"unit {given_unit} where the reference has {unit}"
    if wanted is None or stated is None or comparison.strict:
        raise_unless(False, reason)
        return False
    dimensions = (wanted.dimension, stated.dimension)
    if dimensions in (("radians", "angle"), ("angle", "radians")):
        comparison.add(_turned(value, dimensions[0] == "angle"), given, finished=True)
        return False
    raise_unless(stated.dimension == wanted.dimension, reason)
    factor = stated.value / wanted.value
    first, second = number(value), number(given)
    if first is None or second is None:
        comparison.refuse_unfinished(value, given)
        comparison.pairs.append((value, rf"\frac{{{factor.numerator}}}{{{factor.denominator}}}\cdot({given})"))
    else:
        raise_unless(first == second * factor, f"another value in {unit}")
    return False


def same_amount(gold: str, pred: str) -> bool | None:
    """Whether two texts state one amount, if one of them does in several units; None if neither does.

    An amount in several units is no answer to a reference without a unit: None too.
    """
    wanted, given = _sum(gold), _sum(pred)
    if wanted is None and given is None:
        return None
    if wanted is None:
        wanted = _single(gold, trusted=True)
        if wanted is None:
            return None
    return wanted == (given or _single(pred))


def number(text: str) -> Fraction | None:
    """The exact value of a number literal or of a mixed number; None for any other text."""
    found = fast.parse_number(text)
    if found is not None:
        return found.value
    mixed = _MIXED.match(text)
    if mixed is None or not int(mixed.group(3)):
        return None
    return int(mixed.group(1)) + Fraction(int(mixed.group(2)), int(mixed.group(3)))


def _simple(name: str, each: str = "") -> Size | None:
    match = _POWERED.match(name)
    found = _UNITS.get(match.group(1)) if match else None
    if match is None or found is None:
        return None
    power = int(match.group(2) or 1)
    if power > 1 and found[0] not in ("length", each):
        return None
    return Size(found[0] + (str(power) if power > 1 else ""), found[1] ** power)


def _same_but_measure(first: str, second: str) -> bool:
    """Whether one of two units has a word more that says what it measures: ``5 years old`` for ``5 years``."""
    pairs = ((first, second), (second, first))
    return any(long.rpartition(" ")[2] in MEASURES and long.rpartition(" ")[0] == short for long, short in pairs)


def _turned(value: str, to_radians: bool) -> str:
    """A reference in the other unit of angles."""
    return rf"\frac{{\pi}}{{180}}\cdot({value})" if to_radians else rf"\frac{{180}}{{\pi}}\cdot({value})"


def _single(text: str, trusted: bool = False) -> Size | None:
    value, unit = split_unit(text, trusted)
    amount, size = number(value), size_of(unit)
    return Size(size.dimension, amount * size.value) if amount is not None and size else None


def _sum(text: str) -> Size | None:
    """The amount in ``2 hours and 30 minutes``: falling units of one dimension, none worth one of the unit before."""
    if len(text) > _LONGEST or not (text[-1:].isalpha() or text.endswith(("}", "."))) or not _BEGINS.match(text):
        return None
    flat = _SPACES.sub(" ", _GROUP.sub(r" \1 ", text)).strip()
    total, dimension, last, position, joined = Fraction(0), "", Fraction(0), 0, ""
    for count in range(_MOST_PARTS + 1):
        if position == len(flat):
            return Size(dimension, total) if count > 1 and not joined else None
        part = _PART.match(flat, position)
        if part is None or (total and not last):
            return None
        amount, name = number(part.group(1).lstrip("$")), _part_unit(part, dimension)
        size = size_of(name)
        if amount is None or size is None or (dimension and size.dimension != dimension):
            return None
        if count and (size.value >= last or amount * size.value >= last):
            return None
        total, dimension, position = total + amount * size.value, size.dimension, part.end()
        last, joined = (size.value if amount.denominator == 1 else Fraction(0)), part.group(3) or ""
    return None


def _part_unit(part: re.Match[str], dimension: str) -> str:
    word = part.group(2) or ""
    if part.group(1).startswith("$"):
        return "$" if not word or word == "and" else ""
    # In "2h 30m" the second letter is no length.
    return "min" if word == "m" and dimension == "time" else unit_name(word)
