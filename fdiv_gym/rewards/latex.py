"""Normal form: one spelling for equal LaTeX answers.

Everything here is linear in the length of the text; the caller bounds the length first.
"""

from __future__ import annotations

import re

from fdiv_gym.rewards.markup import without_markup
from fdiv_gym.rewards.notations import (
    exact_decimals,
    greek,
    infix_fractions,
    natural_logarithm,
    without_bold,
    without_null_delimiters,
    words_apart,
)

_TOKEN = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_LOOSE_SPACE = re.compile(r"(?<![0-9.]) | (?![0-9.])")
_MIXED = re.compile(r"(-?[0-9]{1,40}) ([0-9]{1,40})\s*/\s*([0-9]{1,40})\Z")
_E_NOTATION = re.compile(r"(-?)([0-9]{1,20})(?:\.([0-9]{1,20}))?[eE]([-+]?[0-9]{1,2})\Z")
_SHORT_BINOMIAL = re.compile(r"\\binom\s*([0-9])\s*([0-9])")
_SHORT_TOP = re.compile(r"\\frac\s*([0-9])\s*(?=[0-9{])")
_SHORT_BOTTOM = re.compile(r"(\\frac\s*\{[^{}]*\})\s*([0-9])")
_SPACES = re.compile(r"\s+")
_TEXT_GROUP = re.compile(r"\\text\s*\{([^{}]*)\}")
_TEXT_RATIO = re.compile(r"\\text\s*\{([^{}]{0,40})\}\s{0,3}/\s{0,3}\\text\s*\{\s*([^{}]{0,40})\}")
_TEXT_POWER = re.compile(r"\\text\s*\{([^{}^]{1,40})\^(?:([23])\}|\{([23])\}\s?\})")
_HALF_DAY = re.compile(r"(?<=[0-9 ])([ap])\. ?m(?![a-z])")
_COUNTED = re.compile(r"\s{0,9}([-+]?\$?\s?[0-9][0-9,]{0,40}(?:\.[0-9]{1,40})?)\s{1,9}([A-Za-z][^{}]*)\Z")
_GROUP_OF_THREE = re.compile(r"[0-9]{3}(?![0-9])")
_BRACED_COMMA = re.compile(r"(?:(?<=[0-9]) )?\{ ?, ?\}")
_LOST_SPACE = re.compile(r"\\(q?quad)(?=[A-Za-z])")
_TEXT_AHEAD = re.compile(r"\s*\\(?:text|mathrm|mbox|hbox)")

_ROOT = re.compile(r"√\s*(?:([0-9]{1,40}|[A-Za-z])|\(([^()]*)\))")
_ALL_REALS = re.compile(
    r"\(-\\infty,\+?\\infty\)|(?:\\text\{)?(?:thesetof)?(?:all|the)real(?:s|numbers)\}?|\\mathbb\{?R\}?"
)
_EMPTY_SET = re.compile(r"\\\{\s*\\\}")

_DROP_NAMES = """
left right displaystyle textstyle limits nolimits allowbreak strut mathstrut ! ( ) [ ]
big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm Bigm biggm Biggm
"""
_DROP = frozenset(_DROP_NAMES.split())
_SPACE = {";", ":", " ", "quad", "qquad", "\n", "\t", "thinspace", "enspace", "space"}
_RENAME = {
    "dfrac": r"\frac",
    "tfrac": r"\frac",
    "cfrac": r"\frac",
    "nicefrac": r"\frac",
    "sfrac": r"\frac",
    "dbinom": r"\binom",
    "tbinom": r"\binom",
    "lt": "<",
    "gt": ">",
    "leqq": r"\leq",
    "geqq": r"\geq",
    "lvert": "|",
    "rvert": "|",
    "vert": "|",
    "lbrack": "[",
    "rbrack": "]",
    "ast": "*",
    "pounds": "£",
    "euro": "€",
    "tg": r"\tan",
    "ctg": r"\cot",
    "arctg": r"\arctan",
    "le": r"\leq",
    "leqslant": r"\leq",
    "ge": r"\geq",
    "geqslant": r"\geq",
    "ne": r"\neq",
    "lbrace": r"\{",
    "rbrace": r"\}",
    "%": "%",
    "$": "$",
    "degree": r"^\circ",
    "langle": "(",
    "rangle": ")",
    "dots": r"\ldots",
    "cdots": r"\ldots",
    "colon": ":",
    "varnothing": r"\emptyset",
}
_TEXT_NAMES = """
text textbf textit textrm textnormal textsf texttt textsc textup mathrm mathbf mathit mathsf mathtt mbox hbox emph
"""
_TEXT_COMMANDS = frozenset(_TEXT_NAMES.split())

# Operators only: a digit of another script must stay unchanged, so that the check of the alphabet rejects it.
_OPERATORS = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\N{MULTIPLICATION SIGN}": r"\times ",
        "·": r"\cdot ",
        "÷": "/",
        "\N{DOT OPERATOR}": r"\cdot ",
        "\N{BULLET OPERATOR}": r"\cdot ",
        "\N{DIVISION SLASH}": "/",
        "\N{FRACTION SLASH}": "/",
        "\N{RATIO}": ":",
        "\N{PRIME}": "'",
        "…": r"\ldots ",
        "⟨": "(",
        "⟩": ")",
        "\N{DOUBLE-STRUCK CAPITAL R}": r"\mathbb{R}",
        "\N{DOUBLE-STRUCK CAPITAL Z}": r"\mathbb{Z}",
        "\N{DOUBLE-STRUCK CAPITAL N}": r"\mathbb{N}",
        "\N{DOUBLE-STRUCK CAPITAL Q}": r"\mathbb{Q}",
        "\N{DOUBLE-STRUCK CAPITAL C}": r"\mathbb{C}",
        "π": r"\pi ",
        "∞": r"\infty ",
        "≤": r"\leq ",
        "≥": r"\geq ",
        "≠": r"\neq ",
        "≈": r"\approx ",
        "°": r"^\circ ",
        "\N{UNION}": r"\cup ",
        "∩": r"\cap ",
        "∈": r"\in ",
        "±": r"\pm ",
        "θ": r"\theta ",
        "∅": r"\emptyset ",
        "\N{GREEK SMALL LETTER ALPHA}": r"\alpha ",
        "\N{GREEK SMALL LETTER BETA}": r"\beta ",
        "\N{GREEK SMALL LETTER GAMMA}": r"\gamma ",
        "\N{GREEK SMALL LETTER DELTA}": r"\delta ",
        "\N{GREEK SMALL LETTER LAMDA}": r"\lambda ",
        "\N{GREEK SMALL LETTER MU}": r"\mu ",
        "\N{GREEK SMALL LETTER PHI}": r"\phi ",
        "\N{GREEK SMALL LETTER OMEGA}": r"\omega ",
        "\N{GREEK SMALL LETTER SIGMA}": r"\sigma ",
        "\N{GREEK SMALL LETTER RHO}": r"\rho ",
        "\N{GREEK SMALL LETTER TAU}": r"\tau ",
        "\N{HYPHEN}": "-",
        "\N{NON-BREAKING HYPHEN}": "-",
        "\u00a0": " ",
        "\u2009": " ",
        "\u202f": " ",
    }
)


def normalise(text: str) -> str:
    """The normal form of an answer: operators in LaTeX, one name for each command, no layout commands."""
    if not text.isascii():
        text = _ROOT.sub(r"\\sqrt{\1\2}", text.translate(_OPERATORS))
    text = _outer(text.strip())
    if "\\" in text or "$" in text or "{" in text or not text.isascii():
        text = infix_fractions(without_null_delimiters(without_bold(_outer(without_markup(text)))))
    text = _TOKEN.sub(_rename, _LOST_SPACE.sub(r"\\\1 ", text) if "quad" in text else text)
    text = _TEXT_RATIO.sub(r"\\text{\1/\2}", _TEXT_GROUP.sub(_unwrap_symbols, text))
    if "^" in text:
        text = _TEXT_POWER.sub(lambda match: rf"\text{{{match.group(1)}}}^{{{match.group(2) or match.group(3)}}}", text)
    text = _SHORT_BOTTOM.sub(r"\1{\2}", _SHORT_TOP.sub(r"\\frac{\1}", text))
    text = _SHORT_BINOMIAL.sub(r"\\binom{\1}{\2}", text)
    text = _BRACED_COMMA.sub(",", text).replace("**", "^").replace(r"^{\circ}", r"^\circ")
    text = _SPACES.sub(" ", text.replace("~", " ")).strip()
    if "\\" in text:
        text = exact_decimals(natural_logarithm(words_apart(text)))
    text = greek(text)
    text = r"\emptyset" if _EMPTY_SET.fullmatch(text) else text
    text = r"\mathbb{R}" if _ALL_REALS.fullmatch("".join(text.split())) else text
    return _positional(_MIXED.sub(r"\1\\frac{\2}{\3}", _full_stop(text)))


def squeezed(text: str) -> str:
    """``text`` without spaces, except between digits and points ("1 2" is not 12, "1 .5" not 1.5).

    Two answers with equal squeezed forms are the same answer.
    """
    return _LOOSE_SPACE.sub("", text)


def plain(text: str) -> str:
    r"""An answer as plain words: without ``\text``, braces, outer brackets and case."""
    words = _SPACES.sub(" ", _TEXT_GROUP.sub(r" \1 ", text).replace("{", " ").replace("}", " ")).strip()
    if len(words) > 1 and words[0] == "(" and words[-1] == ")":
        words = words[1:-1].strip()
    return _HALF_DAY.sub(r"\1m", words.rstrip(".").strip().casefold())


def _outer(text: str) -> str:
    for left, right in (("**", "**"), ("$$", "$$"), ("$", "$"), ("`", "`"), ("\\(", "\\)"), ("\\[", "\\]")):
        inner = text[len(left) : -len(right)]
        if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right) and left not in inner:
            text = inner.strip()
    return text


def _rename(match: re.Match[str]) -> str:
    name = match.group(1)
    if name in _DROP:
        return ""
    if name == ",":
        return " " if _TEXT_AHEAD.match(match.string, match.end()) or _splits_number(match) else ""
    if name in _SPACE:
        return " "
    if name in _TEXT_COMMANDS:
        return r"\text"
    return _RENAME.get(name, match.group(0))


def _splits_number(match: re.Match[str]) -> bool:
    """Whether a thin space stands between digits, and not before a group of three of them."""
    before = match.string[max(0, match.start() - 1) : match.start()]
    after = match.string[match.end() : match.end() + 9].lstrip()
    return before.isdigit() and after[:1].isdigit() and not _GROUP_OF_THREE.match(after)


def _unwrap_symbols(match: re.Match[str]) -> str:
    inner = match.group(1)
    if not any(char.isalpha() for char in inner):
        return inner
    # "8 apples" in one group, the whole answer: a number and its label.
    counted = None if match.start() or match.end() < len(match.string) else _COUNTED.match(inner)
    return rf"{counted.group(1)}\text{{ {counted.group(2)}}}" if counted else match.group(0)


def _positional(text: str) -> str:
    """``1e-05`` as ``0.00001``; any other text unchanged."""
    match = _E_NOTATION.match(text)
    if not match:
        return text
    sign, whole, part, exponent = match.groups()
    digits, point = whole + (part or ""), len(whole) + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    return f"{sign}{digits[:point]}.{digits[point:]}"


def _full_stop(text: str) -> str:
    if text.endswith(".") and not text.endswith(".."):
        return text[:-1].rstrip()
    return text
