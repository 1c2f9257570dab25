r"""Markup: spellings that change the look of an answer, not its meaning: ``{\bf 5}``, ``$125$ miles``, ``½``.

Every pattern has bounds and is tried once from each place; the caller bounds the length of the text.
"""

from __future__ import annotations

import re

_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"
_LOWERED = "₀₁₂₃₄₅₆₇₈₉"
_PLAIN_DIGITS = str.maketrans(_RAISED + _LOWERED, "0123456789-0123456789")
_FRACTIONS = {
    "½": "12", "⅓": "13", "⅔": "23", "¼": "14", "¾": "34", "⅕": "15", "⅖": "25", "⅗": "35", "⅘": "45", "⅙": "16",
    "⅚": "56", "⅐": "17", "⅛": "18", "⅜": "38", "⅝": "58", "⅞": "78", "⅑": "19",
}  # fmt: skip
_FRACTION_MARKS = str.maketrans({mark: rf"\frac{{{pair[0]}}}{{{pair[1]}}}" for mark, pair in _FRACTIONS.items()})
_BASES = "two three four five six seven eight nine ten eleven twelve"
_NUMBER_WORDS = {word: str(value) for value, word in enumerate(_BASES.split(), start=2)} | {"sixteen": "16"}

_SWITCHES = (
    r"(?:displaystyle|textstyle|scriptstyle|bfseries|bf|rm|it|sf|tt|em|large|Large|small|normalsize)(?![A-Za-z])"
)
_COLOUR = r"\\(?:text)?color\s{0,3}(?:\[[A-Za-z]{1,10}\])?\s{0,3}\{[A-Za-z0-9!.,# ]{1,30}\}"
_TEXT = r"\\(?:text|textbf|textrm|textit|mathrm|mbox)\s{0,3}"
_RARE = re.compile(
    rf"[^\x00-\x7f]|\\(?:\\|(?:text)?color|{_SWITCHES}|bm|pmb|boldsymbol|mathbf|mathit|hspace|underline"
    r"|(?:mathrm|text)\s{0,3}\{\s?[ei]\s?\})|(?<!\\)\$|array|\{:\}|,\\!"
    rf"|[0-9_A-F{{] ?{_TEXT}\{{"
)
_ESCAPED_COMMAND = re.compile(r"\\\\(?:[A-Za-z]{2}|[%$])")
_RUNS = re.compile(r"\\+")
_GROUP_WITH_SWITCH = re.compile(rf"\{{\s{{0,3}}(?:\\{_SWITCHES}|{_COLOUR})\s{{0,3}}")
_SWITCH = re.compile(
    rf"\\{_SWITCHES}\s{{0,3}}|{_COLOUR}\s{{0,3}}"
    r"|\\hspace\s{0,3}\*?\{[0-9a-z. ]{1,10}\}|\\underline(?![A-Za-z])"
)
_BRACED = re.compile(r"(?<![\\_^A-Za-z}\]])\{([-+]?[0-9]{1,40}(?:\.[0-9]{1,40})?)\}")
_ROW_SPACE = re.compile(r"\\\\\s{0,3}\[[-0-9. ]{1,8}(?:pt|em|ex|mm|cm)\]")
_GROUPED = re.compile(r"(?<=[0-9]),\\!\s{0,3}(?=[0-9]{3})")
_RAISED_RUN = re.compile(f"[{_RAISED}]{{1,20}}")
_LOWERED_RUN = re.compile(f"[{_LOWERED}]{{1,20}}")
_DOLLAR = re.compile(r"(?<!\\)\$")
_BETWEEN_DIGITS = re.compile(r"(?<=[0-9])\${1,2}(?=[0-9])")
_LETTER = re.compile(
    r"\\(?:bm|pmb|boldsymbol|mathbf|mathit)\s{0,3}\{\s?([A-Za-z])\s?\}|\\(?:mathrm|text)\s{0,3}\{\s?([ei])\s?\}"
)
_ARRAY = re.compile(
    r"(?:\\left\s{0,3})?([\[(|])\s{0,3}\\begin\{array\}\s{0,3}(?:\{[^{}]{0,40}\})?((?:(?!\\begin|\\end).){0,2000})"
    r"\\end\{array\}\s{0,3}(?:\\right\s{0,3})?([\])|])",
    re.DOTALL,
)
_MATRICES = {"()": "pmatrix", "[]": "bmatrix", "||": "vmatrix"}
_NAME = r"\s{0,3}([a-z]{3,7})\s{0,3}"
_WORD_BASE = re.compile(rf"_\s{{0,3}}(?:\{{\s{{0,3}}{_TEXT}\{{{_NAME}\}}\s{{0,3}}\}}|{_TEXT}\{{{_NAME}\}})")
_NAMED_BASE = re.compile(
    rf"(?<=[0-9A-F])\s{{0,3}}(?:_\s{{0,3}}\{{\s{{0,3}})?{_TEXT}\{{\s{{0,3}}"
    r"\(?(?:in )?base[ -]?([a-z]{3,7}|[0-9]{1,2})?\)?\s{0,3}\}\s{0,3}([0-9]{1,2})?(\s{0,3}\})?\Z"
)


def without_markup(text: str) -> str:
    r"""``text`` in plain LaTeX: no colour, size or dollars around mathematics, matrices for arrays, no Unicode digits.

    A text without any of these marks is returned as it is.
    """
    if not _RARE.search(text):
        return text
    text = _single_escapes(text)
    text = _without_math_dollars(text)
    text = _RAISED_RUN.sub(lambda run: f"^{{{run.group().translate(_PLAIN_DIGITS)}}}", text)
    text = _LOWERED_RUN.sub(lambda run: f"_{{{run.group().translate(_PLAIN_DIGITS)}}}", text)
    text = _GROUPED.sub(",", text.translate(_FRACTION_MARKS)).replace("{:}", ":")
    text = _ROW_SPACE.sub(r"\\\\", text)
    text = _ARRAY.sub(_matrix, text)
    text = _LETTER.sub(lambda match: match.group(1) or match.group(2), text)
    text = _without_switches(text)
    return _NAMED_BASE.sub(_named_base, _WORD_BASE.sub(_word_base, text))


def _single_escapes(text: str) -> str:
    # A text in which every run of backslashes is even was escaped twice; a row of a matrix is "\\" among single ones.
    if not _ESCAPED_COMMAND.search(text) or any(len(run) % 2 for run in _RUNS.findall(text)):
        return text
    return text.replace("\\\\", "\\")


def _without_math_dollars(text: str) -> str:
    count = len(_DOLLAR.findall(text))
    return text if count % 2 else _DOLLAR.sub("", _BETWEEN_DIGITS.sub(" ", text))


def _without_switches(text: str) -> str:
    match = _GROUP_WITH_SWITCH.match(text)
    if match and text.endswith("}") and text.count("{", match.end()) == text.count("}", match.end()) - 1:
        text = text[match.end() : -1]
    bare = _SWITCH.sub("", _GROUP_WITH_SWITCH.sub("{", text))
    return _BRACED.sub(r"\1", bare).strip() if bare != text else text


def _matrix(match: re.Match[str]) -> str:
    name = _MATRICES.get(match.group(1) + match.group(3))
    return rf"\begin{{{name}}}{match.group(2)}\end{{{name}}}" if name else match.group(0)


def _word_base(match: re.Match[str]) -> str:
    number = _NUMBER_WORDS.get(match.group(1) or match.group(2))
    return f"_{{{number}}}" if number else match.group(0)


def _named_base(match: re.Match[str]) -> str:
    named, digits, closed = match.groups()
    number = _NUMBER_WORDS.get(named or "", named) if named else digits
    bracket = "_" in match.group(0)
    if not number or not number.isdigit() or (named and digits) or bracket != bool(closed):
        return match.group(0)
    return f"_{{{number}}}"
