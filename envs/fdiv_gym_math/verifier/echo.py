"""Echo: answers that only repeat the question. The verifier does not see it; an environment does."""

from __future__ import annotations

from fdiv_gym_math.verifier import fast
from fdiv_gym_math.verifier.normal import normalise
from fdiv_gym_math.verifier.structure import equation_parts
from fdiv_gym_math.verifier.units import split_unit


def repeats_question(answer: str, reference: str, question: str) -> bool:
    """Whether an answer is an expression copied from the question where a number is asked for.

    Args:
        answer: as ``extract`` finds it.
        reference: the reference answer.
        question: the prompt.
    """
    value = normalise(answer)
    value = split_unit(equation_parts(value)[-1])[0] if len(answer) <= len(question) else ""
    if (
        not value
        or fast.parse_number(value)
        or not fast.parse_number(split_unit(normalise(reference), trusted=True)[0])
    ):
        return False
    return "".join(value.split()) in "".join(normalise(question).split())
