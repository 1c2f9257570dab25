r"""Labels: words after a number that say what was counted, as in ``3 \text{ bolts}`` or ``\$110 \text{ per week}``.

A label is removed where the reference is a bare number. It must look like a counted noun and must not hold a word that
could change, deny or repeat the number: those are listed here, and a word in doubt is refused.
"""

from __future__ import annotations

import re

from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.claims import changes_value
from fdiv_gym_mathverify.units import unit_name

_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds hundredth hundredths
thousand thousands thousandth thousandths million millions millionth billion billions trillion trillions quadrillion
googol lakh crore
eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth thirtieth
fortieth fiftieth sixtieth seventieth eightieth ninetieth nth mil mill mille
pair trio duo brace quartet quintet ream decade century centuries
tenth tenths first second third fourth fifth sixth seventh eighth ninth half quarter score gross myriad once twice
thrice single double triple quadruple couple several many few numerous multiple
"""
_OPERATORS = """
plus minus times divided multiplied over squared cubed square cube root  factorial power  exponent mod
modulo base binary ternary octal hex hexadecimal roman inverse reciprocal opposite conjugate complement imaginary
complex negative positive absolute doubled tripled halved increased decreased added subtracted sum product
difference  ratio  log ln exp sin cos tan cot sec csc sqrt infinity infinite infinitely max min gcd
lcm equals equal exceeds than to through until between below above under percent percentage percents pct percentile
percentiles permille per-cent  radians pi alpha beta gamma delta epsilon lambda theta sigma omega phi psi tau
rho choose repeating recurring versus vs
"""
_HEDGES = """
not no non none never neither nor without except excluding exclude wrong incorrect false isn't unlike instead rather
and or but if unless when whereas though although however maybe perhaps possibly probably likely about
approximately approx roughly around almost nearly circa some something somewhat any anything anyone all everything
nothing whatever whichever either too both other others else another unknown undefined so sort kind like least most
minimum maximum up more less fewer short loss losses lost debt deficit owed bc bce pm am assuming because since
then therefore thus hence also
"""
_SENTENCES = """
is are was were be been being am has have had do does did can could may might must shall should will would let think
guess guesses hope believe say says means we us you your he she it its they this that these those there here me my
please reward rewards ignore ignores previous instruction instructions correct answer answers right true sure yes ok
okay final finals result  value  solution  reference references grade grades want wants need
needs as
"""
_STOP = frozenset(f"{_NUMBERS} {_OPERATORS} {_HEDGES} {_SENTENCES}".split())
_WHOLES = "squares cubes roots powers products sums differences ratios degrees couples multiples zeros logs quarters"
_CHANGING = (
    frozenset(f"{word}s" for word in f"{_NUMBERS} {_OPERATORS} {_HEDGES} sixe minuse pluse hexe".split())
    - frozenset(_WHOLES.split())
    - {"seconds"}
)
_LARGE = re.compile(r"[a-z]{0,15}illion(?:th)?s?\Z")
_SCALES = ("half", "kilo", "mega")
_TURNS = """
minus negative opposite inverse reciprocal reverse reversed doubled tripled halved increased decreased ignore below
above under over beyond near nearby close somewhere can cannot could may might should would must unsure uncertain
doubtful dubious doubt improbable impossible implausible guess guesses guessed estimate estimated bound bounds excess
hardly barely rarely square squares cube cubes
"""
_DENIALS = frozenset(f"{_NUMBERS} {_HEDGES} {_TURNS} dozens".split()) - {"maximum", "minimum"}
_COUNTS = """
dozen dozens half halves third thirds quarter quarters more less fewer pair pairs couple trios quartets reams decades
centuries
"""
_COUNT_WORDS = frozenset(_COUNTS.split())
"""Words that only a question allows which asks for them: "how many dozen", "how many more"."""

_WITHOUT_PLURAL = """
people men women children fish sheep deer feet teeth mice geese oxen dice cattle livestock fruit fruits money cash
water juice milk paint flour sugar rice sand food candy homework left remaining total altogether profit change
savings tax tip discount old long tall wide high deep away apart extra percent staff crew salmon shrimp squid aircraft
spacecraft offspring pie cake pizza bread corn wheat hay trout bison moose elk furniture luggage jewelry
"""
_UNCOUNTED = frozenset(_WITHOUT_PLURAL.split())
_PARTS = "halves thirds quarters fourths fifths sixths sevenths eighths ninths dozens dozen"
_AMBIGUOUS = frozenset(_PARTS.split())
_ARTICLES = "a an the of in on at for from by with per each every out her his their our"
_FILLERS = frozenset(_ARTICLES.split())
_SINGULAR = frozenset({"1", "-1", "+1"})
_MAX_WORDS = 7
_ENDING = re.compile(r"(?: |\A)(?:in all|left ?over|(?:is|are|was|were) (?:left|remaining|needed))\Z")
_HYPHENED = re.compile(r"\bt-(?=shirts?\b)|(?<=push)-up(?=s?\b)|(?<=pull)-up(?=s?\b)|(?<=sit)-up(?=s?\b)")
_OWNER = re.compile(r"(?:'s|(?<=s)')(?![A-Za-z])")
_QUALITIES = frozenset({"positive", "negative", "complex", "ordered", "equal"})
_QUALIFIED = "integers numbers solutions roots values divisors factors zeros terms digits pairs triples pieces parts"
_QUALIFIED_NOUNS = frozenset(_QUALIFIED.split())

_WORD = r"[A-Za-z]{1,20}(?:'s?(?![A-Za-z]))?"
_WORDS = rf"{_WORD}(?:(?: | ?/ ?|-){_WORD}){{0,7}}"
_QUOTED = re.compile(rf"(?<=[0-9}}%) ])\\text\{{ {{0,3}}({_WORDS})[ .]{{0,3}}\}}\Z")
_BARE = re.compile(rf"(?<=[0-9}}%]) ({_WORDS})\Z")
_MIXED = re.compile(r"-?[0-9]{1,20} ?\\frac\{[0-9]{1,20}\}\{[0-9]{1,20}\}\Z")
_HEAD = re.compile(
    rf"\\text\{{ {{0,3}}({_WORDS}) {{0,3}}(?:\}} {{0,3}}[=:]| ?[=:] {{0,3}}\}}| (is):? {{0,3}}\}}) {{0,3}}"
)
_DOLLARS = re.compile(r"(?:US )?dollars?(?![A-Za-z])")
_LONGEST = 120
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def without_label(reference: str, answer: str, question: str = "") -> str:
    """``answer`` without the label after its number; unchanged if it has none, or the reference is no bare number.

    Args:
        reference: a normalised reference; a number, with or without a dollar mark.
        answer: a normalised answer.
        question: the prompt if it is known: a word of it needs no plural, and "how many dozen" allows "dozen".
    """
    if not (answer[-1:].isalpha() or answer.endswith("}") or answer.startswith("\\text")):
        return answer
    if fast.parse_number(_amount(reference).removesuffix("%")) is None:
        return answer
    answer = _without_head(answer)
    quoted = _QUOTED.search(answer[-_LONGEST:])
    match = quoted or _BARE.search(answer[-_LONGEST:])
    if match is None:
        return answer
    value = answer[: len(answer) - len(match.group())].rstrip()
    number = value.rpartition("=")[2].strip()
    if reference.startswith(("$", "-$")) and not (number.startswith(("$", "-$")) or _DOLLARS.match(match.group(1))):
        return answer
    if reference.endswith("%") and not number.endswith("%"):
        return answer
    if not is_number(number) or not is_label(match.group(1), number, bool(quoted), question):
        return answer
    return value


def is_number(text: str) -> bool:
    """Whether ``text`` is a number literal, a mixed number, an amount of dollars or a percentage."""
    text = _amount(text).removesuffix("%").rstrip()
    return fast.parse_number(text) is not None or bool(_MIXED.match(text))


def is_label(label: str, number: str, quoted: bool, question: str = "") -> bool:
    r"""Whether words name what was counted and do nothing else.

    Args:
        label: words with spaces, hyphens or slashes.
        number: the number before them; after an amount of dollars no noun is needed.
        quoted: whether they are in ``\text``; outside it, letters side by side may be a product.
        question: the prompt, if it is known.
    """
    label = _HYPHENED.sub("", _OWNER.sub("", _ENDING.sub("", label.casefold())))
    words = re.split(r"[ /-]+", label.strip())
    if not 0 < len(words) <= _MAX_WORDS:
        return False
    asked = _asked(question)
    wanted = _counted(question)
    for place, word in enumerate(words):
        if word in wanted or (word == "more" and place == 0 and "than" not in words):
            continue
        if word == "square" and place + 1 < len(words):
            continue
        if word in _QUALITIES and words[place + 1 : place + 2] and words[place + 1] in _QUALIFIED_NOUNS:
            continue
        if word == "pairs" and place and words[place - 1] == "ordered":
            continue
        if word in _STOP or word in _AMBIGUOUS or word in _CHANGING or (len(word) == 1 and word != "a"):
            return False
        if _LARGE.match(word) or (word.startswith(_SCALES) and not unit_name(word)):
            return False
        if word and not quoted and not (_is_word(word) or (len(word) == 3 and any(map(_is_word, words)))):
            return False
    if words == [""] or number.startswith(("$", "-$")):
        return True
    if words[-1] in _FILLERS and words[-1] != "each":
        return False
    return any(_is_noun(word, number) or word in asked or word in wanted for word in words) or words[0] in (
        "more",
        "per", "each", "every",
    )  # fmt: skip


def _without_head(answer: str) -> str:
    r"""``answer`` without words that name its value, as in ``\text{Total} = 7`` and ``\text{Total: } 7``."""
    head = _HEAD.match(answer)
    if head is None or changes_value(head.group(1)):
        return answer
    denials = _STOP - {"maximum", "minimum"} if head.group(2) else _DENIALS
    if any(word in denials for word in re.split(r"[ /-]+", head.group(1).casefold())):
        return answer
    return answer[head.end() :]


def _amount(text: str) -> str:
    if text.startswith("$"):
        return text[1:].strip()
    return "-" + text[2:].strip() if text.startswith("-$") else text


def _is_noun(word: str, number: str) -> bool:
    # A plural, a word without one, or any word after the number one or a fraction.
    if word in _FILLERS:
        return False
    if (
        word in _UNCOUNTED
        or word.endswith("fish")
        or unit_name(word)
        or (word.endswith("s") and not word.endswith("ss") and len(word) > 3)
    ):
        return True
    return len(word) > 2 and (number in _SINGULAR or "frac" in number or "/" in number or "." in number)


def _is_word(word: str) -> bool:
    # Letters side by side are a product unless they can be a word: "abcd", "xyz" and "rst" are not.
    if word in _FILLERS or word in _UNCOUNTED or unit_name(word):
        return True
    letters = len(word) <= 3 or not any(char in "aeiou" for char in word) or word in _ALPHABET
    return not letters and word.removesuffix("s") not in _STOP - {"square", "cube", "couple", "product", "power"}


def _asked(question: str) -> frozenset[str]:
    """The words of a question that may be a label, without those that could change a number."""
    words = re.findall(r"[A-Za-z]{3,20}", question.casefold())
    return frozenset(words) - _STOP - _AMBIGUOUS - _FILLERS


def _counted(question: str) -> frozenset[str]:
    """The words of number or comparison that a question asks for: ``dozen`` in "how many dozen eggs"."""
    found = re.findall(r"how (?:many|much) ([a-z]{3,20})", question.casefold())
    return frozenset(found) & (_COUNT_WORDS | _AMBIGUOUS)
