"""Finished: whether an answer is evaluated, or may be an expression of the question.

The verifier does not receive the question. Therefore an answer that equals the reference but is not written as a single
value is refused; otherwise a policy would learn to copy expressions.
"""

from __future__ import annotations

import re

from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.texts import has_variable, trigonometric

_UNFINISHED = re.compile(
    r"\\(?:sum|prod|int|iint|oint|lim|det|max|min|gcd|lcm|mod|bmod|lfloor|lceil|operatorname)(?![a-z])"
)
_NUMERAL = r"(?:[0-9]{1,200}(?:\.[0-9]{1,200})?|\.[0-9]{1,200})"
_SIGNED = rf"-?{_NUMERAL}"
_FRACTION = rf"\(?\\frac\{{{_SIGNED}\}}\{{{_SIGNED}\}}\)?"
_BASE = rf"(?:{_NUMERAL}|\({_SIGNED}\)|\{{{_SIGNED}\}}|{_FRACTION})"
_FORMS = (
    # a numeral, also in brackets or with too many digits for the fast path
    rf"{_SIGNED}|\({_SIGNED}\)|\{{{_SIGNED}\}}|{_FRACTION}|{_SIGNED}/{_NUMERAL}",
    # scientific notation and a mixed number
    rf"{_SIGNED}(?:\\times|\\cdot|\*)10\^(?:\{{-?[0-9]+\}}|[0-9]+)|{_SIGNED}[eE][-+]?[0-9]+",
    r"-?[0-9]+\\frac\{[0-9]+\}\{[0-9]+\}",
    # one power, root, factorial or binomial
    rf"{_BASE}\^(?:\{{{_SIGNED}\}}|\{{{_SIGNED}/{_NUMERAL}\}}|\{{\\frac\{{{_SIGNED}\}}\{{{_NUMERAL}\}}\}}|[0-9])",
    rf"\\sqrt(?:\[[0-9]+\])?(?:\{{{_NUMERAL}\}}|[0-9])|sqrt\({_NUMERAL}\)",
    r"[0-9]+!|\\[dt]?binom(?:\{[0-9]+\}|[0-9])(?:\{[0-9]+\}|[0-9])|\{[0-9]+\\choose[0-9]+\}",
)
_VALUE = re.compile(rf"[-+]?(?:{'|'.join(_FORMS)})\Z")


def operation(reference: str, answer: str) -> str:
    """Why an answer holds a sum, integral or limit that is still to be evaluated; empty if it holds none."""
    return "not evaluated" if _UNFINISHED.search(answer) and not _UNFINISHED.search(reference) else ""


def unfinished(reference: str, answer: str) -> str:
    """Why an answer is less evaluated than the reference; empty if it is not.

    Args:
        reference: one value, without its unit.
        answer: one value, without its unit.
    """
    operator = operation(reference, answer)
    if operator:
        return operator
    if has_variable(answer) and not has_variable(reference):
        return "letters where the reference has none"
    if "\\circ" in answer and trigonometric(answer) and not trigonometric(reference):
        return "not evaluated: a function of degrees"
    number = fast.parse_number(reference)
    if number is None:
        return ""
    given = fast.parse_number(answer)
    if number.form == "int" and given is not None and given.form == "frac":
        return "not evaluated: a fraction where the reference is an integer"
    if given is None and not _VALUE.match("".join(answer.split())):
        return "not evaluated: more than a value where the reference is a number"
    if number.form == "int" and re.match(r"[-+(]*\\frac|[^^]*/[^^]*\Z", "".join(answer.split())):
        return "not evaluated: a fraction where the reference is an integer"
    return ""
