r"""Units: words after a number that do not change its value.

Only whole known words count. If any trailing word were removed, "3 or so" and "1 of many" would be accepted. A single
letter is a variable unless it is the symbol of a unit in ``\text``, or one of four common ones after a number literal.
"""

from __future__ import annotations

import re

from fdiv_gym_mathverify import fast

_SYNONYMS = """
mm millimeter millimetre
cm centimeter centimetre cms
dm decimeter decimetre
m meter metre
km kilometer kilometre kms
in inch inches
ft foot feet
yd yard
mi mile
mg milligram
g gram gm
kg kilogram kilo kgs
lb pound lbs
oz ounce
ml milliliter millilitre mL
l liter litre L
gal gallon
quart qt
pint
cup
tablespoon tbsp
teaspoon tsp
s second sec
min minute
h hour hr hrs
day days
week weeks
month months
year yr yrs
$ dollar usd USD buck
cent cents ¢
euro euros
deg degree degrees
rad radian
% percent percentage pct
mph
kcal
kWh kwh
ohm
hz hertz Hz
J joule
N newton
W watt
V volt
K kelvin
C celsius
F fahrenheit
Pa pascal
kmph kph kmh
unit units
point pts
item
piece
people person
student
child children
apple
book
ticket
page
mark
coin
way
time
sq square
cu cubic
per
"""

MEASURES = frozenset({"old", "long", "wide", "tall", "high", "deep", "away", "apart"})
"""Words after a unit that say what was measured."""

_NAMES: dict[str, str] = {word: word for word in MEASURES}
for _line in _SYNONYMS.split("\n"):
    for _word in _line.split():
        _NAMES[_word] = _line.split()[0]

_WORD = r"[A-Za-z]+"
_POWER = r"(?:\s*\^\s*(?:\{\s*[23]\s*\}|[23]))?"
_TEXT_UNIT = re.compile(rf"\s*\\text\s*\{{\s*([A-Za-z][A-Za-z ./]{{0,40}}?)\s*\}}\s*({_POWER})\Z")
_BARE_UNIT = re.compile(rf"(?<=[0-9}})])\s*({_WORD}(?:[ /]{_WORD}){{0,3}})({_POWER})\Z")
_DEGREE = re.compile(r"\s*\^\s*(?:\\circ|\{\s*\\circ\s*\})\s*(?:\\text\s*\{\s*([CF])\s*\}|([CF]))?\s*\Z")
_FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
_DIGIT = re.compile(r"[0-9]")
_COMMAND = re.compile(r"\\[A-Za-z]+|\\text\s*\{[^{}]*\}")
_LETTER = re.compile(r"[A-Za-z]")
_LETTER_UNITS = frozenset("mgsh")
_MEASURED = frozenset({"mm", "cm", "dm", "m", "km", "in", "ft", "yd", "mi", "s", "h", "unit", "sq", "cu"})
_RATIOS = {"km per h": "kmph", "mi per h": "mph", "deg C": "degC", "deg F": "degF"}
_NOUNS = "men cup egg pen toy car dog cat box bag jar can tin pie win lap row bus bee ant pig cow hen"
_SHORT_NOUNS = frozenset(_NOUNS.split())
_NUMBER_WORDS = frozenset({"hundred", "thousand", "million", "billion", "trillion", "dozen"})
_NO_UNITS = _NUMBER_WORDS | {"or", "not", "than"}
_RAISED = {"squared": "2", "cubed": "3"}
_TAIL = 80


def split_unit(text: str, trusted: bool = False) -> tuple[str, str]:
    """Split ``text`` into a value and the name of its unit (empty if it has none).

    Args:
        text: a normalised answer.
        trusted: take any trailing words for the unit; only for references, never for model output.
    """
    if text.startswith("$"):
        value, other = split_unit(text[1:].strip(), trusted)
        rate = other if other.startswith("per ") else ""
        return (value, f"$ {rate}".strip()) if other in ("", "$", rate) else (text, "")
    if text.startswith(("€", "£", "₹", "¥")):
        return text[1:].strip(), "euro" if text[0] == "€" else text[0]
    if text.startswith("-$"):
        return "-" + text[2:].strip(), "$"
    for mark, name in (("%", "%"), ("$", "$"), ("€", "euro"), ("£", "£"), ("¢", "cent")):
        if len(text) > 1 and text.endswith(mark):
            return text[: -len(mark)].strip(), name
    head, tail = text[:-_TAIL], text[-_TAIL:]
    degree = _DEGREE.search(tail)
    if degree and degree.start() and not _FUNCTION.search(text):
        return head + tail[: degree.start()], "deg" + (degree.group(1) or degree.group(2) or "")
    for pattern in (_TEXT_UNIT, _BARE_UNIT):
        match = pattern.search(tail)
        value = (head + tail[: match.start()]).strip() if match else ""
        if match and value:
            words, power = match.groups()
            # "5m" may be a product, "5cm" is a length, and unknown words are units only after a space.
            apart = tail[match.start()] in " \\" or (len(words) > 1 and words in _NAMES)
            if apart and pattern is _BARE_UNIT:
                apart = _may_be_unit(value, words, power)
            name = unit_name(words, power, trusted and _DIGIT.search(value) is not None) if apart else ""
            if name:
                return value, name
    return text, ""


def _may_be_unit(value: str, words: str, power: str) -> bool:
    r"""Whether words outside ``\text`` can be a unit: after a value with letters, they are variables too."""
    if _LETTER.search(_COMMAND.sub(" ", value)):
        return False
    found = re.split(r"[ /]", words)
    if any(len(word) == 1 for word in found):
        plain = fast.parse_number(value) is not None
        return plain and ((words in _LETTER_UNITS and not power) or ("/" in words and len(found) == 2))
    return all(word in _NAMES or len(word) > 3 or _known(word) or word in _SHORT_NOUNS for word in found)


def unit_name(words: str, power: str = "", trusted: bool = False) -> str:
    """The canonical name of a unit that is written as ``words`` and a power; empty if it is not known."""
    names: list[str] = []
    for word in words.replace("/", " per ").replace(".", " ").split():
        if word in _RAISED and names and names[-1] in _MEASURED:
            names[-1] += _RAISED[word]
            continue
        name = _known(word)
        if not name:
            if not trusted or len(word) < 2 or word.casefold() in _NO_UNITS:
                return ""
            name = word if _is_mega(word) else word.casefold().rstrip("s")
        names.append(name)
    exponent = power.strip(" ^{}")
    if exponent and not trusted and names and names[-1] not in _MEASURED:
        return ""
    for name, square in (("sq", "2"), ("cu", "3")):
        if name in names and len(names) > 1:
            place = names.index(name)
            names.pop(place)
            # "sq m per s" and "m sq per s" are "m2 per s", not "m per s2".
            before = place == len(names) or names[place] == "per"
            names[max(place - 1, 0) if before else place] += square
    if not names or (len(names) == 1 and names[0] in {"per", "sq", "cu", *MEASURES}):
        return ""
    joined = " ".join(names) + exponent
    return _RATIOS.get(joined, joined)


def same_words(words: str, reference_unit: str) -> bool:
    """Whether ``words`` of an answer name the unit of the reference, whatever that unit is."""
    return unit_name(words, trusted=True) == reference_unit


def _known(word: str) -> str:
    if word in _NAMES:
        return _NAMES[word]
    lower = word.lower()
    if _is_mega(word):
        return ""
    for form in (lower, lower[:-1] if lower.endswith("s") else lower, lower[:-2] if lower.endswith("es") else lower):
        if len(form) > 2 and form in _NAMES:
            return _NAMES[form]
    return ""


def _is_mega(word: str) -> bool:
    """Whether a symbol begins with the capital that stands for a million: "Mg" is not "mg"."""
    return len(word) == 2 and word[0] == "M" and word[1].islower() and word != "Mi"
