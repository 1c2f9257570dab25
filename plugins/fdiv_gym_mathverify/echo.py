"""Echo: answers that only repeat the question, which is available to an environment but not to the verifier."""

from __future__ import annotations

import re

from fdiv_gym.rewards import normalise
from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.labels import without_label
from fdiv_gym_mathverify.structure import equation_parts
from fdiv_gym_mathverify.units import split_unit

_LAYOUT = str.maketrans("", "", " {}*()[]|$")
_OPERATION = re.compile(r"[-+/^!(\[<>=|]|\\[a-z]")


def copies_question(answer: str, reference: str, question: str) -> bool:
    """Whether an answer is an expression that was copied from the question and not evaluated.

    If the reference is a number, this is every copied expression, and every copied number whose form differs from
    that of the reference. If the reference is an expression, it is every copied expression with an operation. Nothing
    counts as copied if the question contains the reference too, because then the answer is one of its expressions.

    Args:
        answer: the answer, from ``extract``.
        reference: the reference answer.
        question: the prompt.
    """
    value, wanted = normalise(answer), split_unit(normalise(reference), trusted=True)[0]
    asked = _tight(normalise(question))
    number = fast.parse_number(wanted)
    if number is not None:
        value = split_unit(without_label(wanted, equation_parts(value)[-1], question))[0]
    copied = bool(_tight(value)) and _stands_in(_tight(value), asked)
    given = fast.parse_number(value)
    if number is None or given is not None:
        if number is not None and given is not None and (given.form, number.form) in (("int", "int"), ("dec", "dec")):
            return False
        named = _stands_in(_tight(wanted), asked)
        return copied and not named and (given is not None or bool(_OPERATION.search(value)))
    return copied


def _stands_in(part: str, text: str) -> bool:
    """Whether ``part`` occurs in ``text``, a number as a whole."""
    return bool(re.search(rf"(?<![0-9.]){re.escape(part)}(?![0-9]|\.[0-9])", text))


def _tight(text: str) -> str:
    """Without spaces, brackets and multiplication signs, in which a copy may differ."""
    return text.replace("\\cdot", "").replace("\\sqrt[2]", "\\sqrt").translate(_LAYOUT).lstrip("+")
