"""Scores of pairs without worker processes, for the tests of this folder."""

from __future__ import annotations

from fdiv_gym_mathverify import MathVerifier, fast, worker

_VERIFIER = MathVerifier()


def score_of(reference: str, answer: str) -> float | None:
    """The score of a response that holds ``answer`` in a box; None if it has none."""
    return score_of_response(reference, answer if "\\boxed" in answer else f"So \\boxed{{{answer}}}.")


def score_of_response(reference: str, response: str) -> float | None:
    """The score of a whole response, compared in this process."""
    plan = _VERIFIER.plan(reference, response)
    if plan.unscorable:
        return None
    if plan.score is not None:
        return plan.score
    left = []
    for pair in plan.pairs:
        same = fast.decide(*pair)
        if same is False:
            return 0.0
        if same is None:
            left.append(pair)
    return worker.judge(left)[1] if left else 1.0
