"""Echo: answers that only repeat the question. The verifier does not see it; an environment does."""

from __future__ import annotations

import re

from fdiv_gym_math.verifier import fast
from fdiv_gym_math.verifier.normal import normalise
from fdiv_gym_math.verifier.structure import equation_parts
from fdiv_gym_math.verifier.units import split_unit

_LAYOUT = str.maketrans("", "", " {}*")
_OPERATION = re.compile(r"[-+/^!(\[<>=]|\\[a-z]")


def repeats_question(answer: str, reference: str, question: str) -> bool:
    """Whether an answer is an expression copied from the question that the question wants worked out.

    Where a number is asked for, any expression copied is; otherwise one that holds an operation, unless
    the reference stands in the question as well: then the question wants one of its own expressions.

    Args:
        answer: as ``extract`` finds it.
        reference: the reference answer.
        question: the prompt.
    """
    if len(answer) > len(question):
        return False
    value, wanted = normalise(answer), split_unit(normalise(reference), trusted=True)[0]
    asked = _tight(normalise(question))
    if fast.parse_number(wanted):
        value = split_unit(equation_parts(value)[-1])[0]
        return bool(value) and fast.parse_number(value) is None and _tight(value) in asked
    return bool(_OPERATION.search(value)) and _tight(value) in asked and _tight(wanted) not in asked


def _tight(text: str) -> str:
    """Without spaces, braces and dots of multiplication, which copying may lose."""
    return text.replace("\\cdot", "").translate(_LAYOUT)
