r"""Choices: letters A to J with or without the value of the option, such as ``(C) 42`` or ``\text{Option C}``."""

from __future__ import annotations

import re
from typing import NamedTuple

from fdiv_gym.rewards import normalise
from fdiv_gym_mathverify import fast

_LETTER = r"[A-Ja-j]"
_WORDS = re.compile(
    r"(?:the\s{1,3})?(?:(?:correct|final|right|best)\s{1,3})?(?:option|choice|answer)(?:\s{1,3}is)?\s{0,3}:?\s{0,3}",
    re.IGNORECASE,
)
_OPENED = re.compile(r"\\text\s{0,3}\{\s{0,3}")
_HOLLOW = re.compile(r"\\text\s{0,3}\{\s{0,3}\}\s{0,3}")
_MARKED = rf"(?:\(\s?({_LETTER})\s?\)|({_LETTER})\s?[.:)])"
_SHAPES = (
    # \text{(B)} 16, \text{B} 16
    re.compile(rf"\\text\s?\{{\s{{0,3}}(?:{_MARKED}|({_LETTER}))\s{{0,3}}\}}()\s{{0,3}}(.*)\Z", re.DOTALL),
    # \text{(B) red}
    re.compile(rf"\\text\s?\{{\s{{0,3}}{_MARKED}()()\s{{0,3}}([^{{}}]*)\}}\Z", re.DOTALL),
    # (B) 16
    re.compile(rf"{_MARKED}()(\s{{0,3}})(.*)\Z", re.DOTALL),
    re.compile(rf"()()({_LETTER})()()\Z"),
)
_IN_TEXT = 1
_BARE = 2
_OPERATOR = frozenset("+*/^=<>_!'&|,;:)]}")
_OTHER = re.compile(
    r"(?<![A-Za-z\\])(?:or|not|nor|but|isn't|wrong|incorrect|except|excluding|neither|either|maybe|perhaps|instead"
    r"|possibly|both|options?|choices?|answers?)(?![A-Za-z])|\?|\\(?:lor|vee|neg|lnot)(?![A-Za-z])",
    re.IGNORECASE,
)
_ADDED = re.compile(
    r"\A\s{0,3}(?:and(?![A-Za-z])|\\(?:pm|mp|setminus|cup|cap|land|wedge)(?![A-Za-z]))|(?:more|others?)\s{0,3}\Z"
)
_CAPITAL = re.compile(r"(?<![A-Za-z\\])[A-J](?![A-Za-z])|\([a-j]\)")
_ONE = r"(?:\([A-J]\)|[A-J])"
_SEVERAL = re.compile(rf"{_ONE}(?:\s{{0,3}}(?:,|;|&|,?\s{{0,3}}and)?\s{{0,3}}{_ONE}){{1,9}}")
_JOINED = re.compile(r"[A-J]\s{0,3}[A-J]")
_OPTION = re.compile(r"(?:\\text\s{0,3}\{)?\s{0,3}\(([A-J])\)\s{0,3}\}?")
_TAIL = re.compile(r"(?:\\(?:q?quad|\\|text\s{0,3}\{)|\n).{0,400}\Z|[\s$,;.]{1,9}\Z", re.DOTALL)
_GROUPS = re.compile(r"\\text\s{0,3}\{([^{}]{0,100})\}")
_LONGEST = 400
_CONSTANTS = ("e", "i")


class Choice(NamedTuple):
    """A letter of a multiple choice, in capitals, and the value of the option (empty if it is not given)."""

    letter: str
    value: str


def choice(text: str) -> Choice | None:
    r"""Read a normalised text such as ``B``, ``(B)``, ``\text{(B)} 16`` or ``\text{Option B}``; else None."""
    text = _without_words(text.strip())
    if text.startswith("{") and text.endswith("}") and text.count("{") == 1:
        text = text[1:-1].strip()
    if text in _CONSTANTS:
        return None
    for number, shape in enumerate(_SHAPES):
        match = shape.match(text)
        if not match:
            continue
        *letters, gap, value = match.groups()
        value = value.strip()
        if number == _BARE and not gap and value and (value[0] in "-([" or value[0].isalnum()):
            return None  # "(C)-1" and "(C)(x)" are products and sums
        if value[:1] in _OPERATOR:
            return None
        if number == _IN_TEXT and value:
            value = rf"\text{{{value}}}" if any(char.isalpha() for char in value) else value
        return Choice("".join(filter(None, letters)).upper(), "" if value == "." else value)
    return None


def only(given: Choice) -> bool:
    """Whether the value of a choice names no other choice and does not take the letter back."""
    value = given.value
    if len(value) > _LONGEST or _CAPITAL.search(_GROUPS.sub(r" \1 ", value)):
        return False
    return not _OTHER.search(value) and not _ADDED.search(_GROUPS.sub(r" \1 ", value))


def names_option(given: Choice, text: str) -> bool:
    """Whether ``text``, read as ``given``, is an option: ``C: x^2=1`` is a curve, ``(a) 1 (b) 2`` has two parts."""
    return given.letter in text and only(given) and not ("=" in given.value and ":" in text)


def contradicts_option(answer: str, question: str) -> bool:
    """Whether an answer gives a letter and a number that differs from that option's number in the question."""
    given = choice(answer)
    stated = fast.parse_number(given.value) if given and given.value else None
    if given is None or stated is None:
        return False
    options = list(_OPTION.finditer(normalise(question)))
    for option, following in zip(options, [*options[1:], None], strict=True):
        if option.group(1) == given.letter:
            text = option.string[option.end() : following.start() if following else option.end() + _LONGEST]
            number = fast.parse_number(_TAIL.sub("", _HOLLOW.sub("", text)).strip(" $."))
            if number is not None and fast.compare(number, stated) is False:
                return True
    return False


def letters(text: str) -> tuple[str, ...]:
    """The letters of several choices such as ``A, C``, ``(A) and (C)`` or ``AC``, sorted; empty for any other text."""
    text = _GROUPS.sub(r" \1 ", text).strip().rstrip(".") if len(text) <= _LONGEST else ""
    if not _SEVERAL.fullmatch(text):
        return ()
    found = [char for char in text if char in "ABCDEFGHIJ"]
    return tuple(sorted(found)) if len(set(found)) == len(found) else ()


def is_joined(text: str) -> bool:
    """Whether letters stand side by side, as in ``AC``, which may also be a product or a segment."""
    return bool(_JOINED.search(_GROUPS.sub(r" \1 ", text)))


def listed(answer: str, reference: str, question: str) -> str:
    """``AC`` as ``A, C`` if the reference is a list of letters and all of them are options of the question."""
    given = letters(normalise(answer))
    if not given or not is_joined(normalise(answer)) or not letters(normalise(reference)):
        return answer
    options = {option.group(1) for option in _OPTION.finditer(normalise(question))}
    return ", ".join(given) if set(given) <= options else answer


def _without_words(text: str) -> str:
    r"""``\text{Option B}`` as ``\text{B}``, ``\text{The answer is } B`` as ``B``."""
    opened = _OPENED.match(text)
    begin = opened.end() if opened else 0
    words = _WORDS.match(text, begin)
    if not words:
        return text
    return _HOLLOW.sub("", text[:begin] + text[words.end() :], count=1)
