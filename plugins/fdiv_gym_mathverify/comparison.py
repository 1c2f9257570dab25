"""Comparison: what the parts of a plan share: the pairs collected so far, and the exception that ends it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fdiv_gym_mathverify.filter import Limits
from fdiv_gym_mathverify.finished import unfinished

Pair = tuple[str, str]


class Mismatch(Exception):  # noqa: N818 - it ends a comparison; nothing went wrong
    """The answer is wrong for a reason of form; the message is the verdict's detail."""


@dataclass
class Comparison:
    """The comparison of one answer with one reference.

    Args:
        limits: limits of an answer.
        allow_unevaluated: accept an answer that is less evaluated than the reference.
        strict: no words after a number but the unit of the reference.
        pairs: values that must all be equal.
    """

    limits: Limits
    allow_unevaluated: bool
    strict: bool = False
    pairs: list[Pair] = field(default_factory=list)

    def add(self, gold: str, pred: str, finished: bool = False) -> None:
        """Add one pair; with ``finished`` the answer must be evaluated as far as the reference."""
        if finished:
            self.refuse_unfinished(gold, pred)
        self.pairs.append((gold, pred))

    def refuse_unfinished(self, gold: str, pred: str) -> None:
        """Raise Mismatch if the answer is less evaluated than the reference."""
        reason = "" if self.allow_unevaluated else unfinished(gold, pred)
        if reason:
            raise Mismatch(reason)


def raise_unless(condition: bool, detail: str) -> None:
    """Raise Mismatch with ``detail`` unless ``condition`` holds."""
    if not condition:
        raise Mismatch(detail)
