r"""Wordings: ``\text{The answer is } 18``, ``\text{five}``, ``15^{\text{th}}``, ``\text{Point } (2,3)``, ``8 a.m.``.

Each is read only as a whole: words in a longer answer are left to the rules on labels and hedges.
"""

from __future__ import annotations

import re

from fdiv_gym.rewards import normalise, plain
from fdiv_gym_mathverify import fast

_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty
"""
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_NUMBERS = {word: value for value, word in enumerate(_ONES.split())} | _TENS
_NUMBERS |= {"hundred": 100, "one hundred": 100, "a hundred": 100}
_WORD = re.compile(r"(?:\\text ?\{ {0,3})?([A-Za-z]{3,9})(?:[- ]([A-Za-z]{3,7}))? ?\.? ?\}?")
_SUFFIX = r"(?:\\text ?\{ ?)?(st|nd|rd|th) ?\}?"
_ORDINAL = re.compile(rf"([0-9]{{1,9}}) ?(?:\^ ?\{{ ?{_SUFFIX} ?\}}|\^ ?{_SUFFIX}|{_SUFFIX})")
_OPENED = r"(\\text ?\{ {0,3})?"
_PREAMBLE = re.compile(
    rf"{_OPENED}(?:(?:so|thus|therefore|hence),? )?(?:(?:the|my) )?(?:(?:final|correct) )?(?:answer|result|solution)"
    r" ?(?:is(?: equal to)? ?:?|equals|:|=) {0,3}(\})? {0,3}[=:]? {0,3}",
    re.IGNORECASE,
)
_IS = re.compile(r" ?\\text ?\{ {0,3}(?:is|equals|is equal to) {0,3}\} ?")
_VALUE_OF = re.compile(r"\\text ?\{ {0,3}(?:the )?value of {0,3}\} ?(?=\\?[A-Za-z])", re.IGNORECASE)
_POINT = re.compile(
    r"\A\\text ?\{ {0,3}(?:the )?(?:points?|vertex|cent(?:er|re)|coordinates|(?:ordered )?(?:pair|triple)|interval"
    r"|domain|range|solution set)"
    r"(?: (?:is|are|at))? ?:? {0,3}\} {0,3}[=:]? {0,3}(?=[(\[]|\\\{)",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"\A(?:it is )?(?:on )?(?:an? |the )?(?=[^ ]{3})(?!third|half|quarter|[a-z]{2,9}th\b)")
_TIME = re.compile(r"([0-9]{1,2})(?: ?: ?([0-9]{2}))? ?([ap])\.? ?m|(?:12(?::00)? ?)?(noon|midnight)")
_NUMERAL = r"-?[0-9]{1,12}(?:[.,/][0-9]{1,12}){0,3}"
_NUMERALS = re.compile(rf"\\text ?\{{ ?({_NUMERAL}(?:,? (?:and |or )?{_NUMERAL}){{1,9}}) ?\}}")
_TWO_NUMERALS = re.compile(rf"({_NUMERAL}) ?\\text ?\{{ ((?:and|or) {_NUMERAL}) ?\}}")
_LABELLED = re.compile(
    r"\\text ?\{ ?([A-Za-z ]{1,60}[:=]) {0,3}(-?\$?[0-9][0-9,]{0,20}(?:\.[0-9]{1,9})?)( [A-Za-z /-]{1,60})?\.? ?\}"
)
_LONGEST = 40
_LONGEST_SENTENCE = 200


def in_mathematics(text: str) -> str:
    r"""``text`` without words that only introduce it, and as a numeral if it is a number word or an ordinal."""
    text = text.removeprefix("=").lstrip()
    if text.startswith("(") and text.endswith(")") and "," not in text and fast.parse_number(text[1:-1]):
        return text[1:-1].strip()
    worded = text[:1].isalpha() or text[-1:].isalpha() or "\\text" in text
    if not worded and not text.endswith(("st}", "nd}", "rd}", "th}")):
        return text
    text = _opened(_without_preamble(text)) if len(text) < _LONGEST_SENTENCE else text
    if "is" in text or "equals" in text:
        text = _VALUE_OF.sub("", _IS.sub(" = ", text), count=1)
    if text.endswith((")", "]", "}")) and text.startswith("\\text"):
        text = _POINT.sub("", text, count=1)
    return _ordinal(_number_word(text)) if len(text) < _LONGEST else text


def same_text(first: str, second: str) -> bool:
    """Whether two answers in words are the same, apart from an article before one of them."""
    return _ARTICLE.sub("", plain(first), count=1) == _ARTICLE.sub("", plain(second), count=1)


def time_of_day(text: str) -> tuple[int, int] | None:
    """Hour and minute of ``8 a.m.``, ``8:00 PM`` or ``noon``; None for any other text."""
    may_be = len(text) < _LONGEST and (text[:1].isdigit() or text[:1] in "\\nmNM")
    match = _TIME.fullmatch(plain(text)) if may_be and (text[-1:].isalpha() or text[-1:] in ".}") else None
    if match is None:
        return None
    hour, minute, half, named = match.groups()
    if named:
        return (12 if named == "noon" else 0, 0)
    if not 1 <= int(hour) <= 12 or int(minute or 0) > 59:
        return None
    return (int(hour) % 12 + (12 if half == "p" else 0), int(minute or 0))


def _without_preamble(text: str) -> str:
    match = _PREAMBLE.match(text)
    if match is None or match.end() == len(text):
        return text
    opened, closed = match.groups()
    if bool(opened) == bool(closed):
        return text[match.end() :]
    return normalise(opened + text[match.end() :]) if opened else text


def _opened(text: str) -> str:
    r"""``\text{1, 2 and 3}`` as ``1, 2 and 3`` and ``\text{Total: 18 eggs}`` as ``\text{Total: } 18\text{ eggs}``."""
    numerals = _NUMERALS.fullmatch(text)
    if numerals:
        return numerals.group(1)
    pair = _TWO_NUMERALS.fullmatch(text)
    if pair:
        return f"{pair.group(1)} {pair.group(2)}"
    labelled = _LABELLED.fullmatch(text)
    if labelled is None:
        return text
    head, amount, label = labelled.groups()
    return rf"\text{{{head} }}{amount}" + (rf"\text{{{label}}}" if label else "")


def _number_word(text: str) -> str:
    match = _WORD.fullmatch(text)
    if match is None or text.endswith("}") != text.startswith("\\text"):
        return text
    first, second = match.group(1).casefold(), (match.group(2) or "").casefold()
    value = _NUMBERS.get(f"{first} {second}".strip())
    if value is None and second and first in ("twenty", *_TENS) and 0 < _NUMBERS.get(second, 0) < 10:
        value = _NUMBERS[first] + _NUMBERS[second]
    return text if value is None else str(value)


def _ordinal(text: str) -> str:
    match = _ORDINAL.fullmatch(text)
    if match is None or text.count("{") != text.count("}"):
        return text
    digits, *suffixes = match.groups()
    teen = digits[-2:-1] == "1"
    right = "th" if teen else {"1": "st", "2": "nd", "3": "rd"}.get(digits[-1], "th")
    return digits if right in suffixes else text
