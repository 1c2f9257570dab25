"""Verifier: compares a response with a reference answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from fdiv_gym.errors import VerifierError
from fdiv_gym.registry.guard import attribute_errors, check_verdict
from fdiv_gym.registry.lookup import Spec, get
from fdiv_gym.registry.options import Configurable
from fdiv_gym.types.verdict import Verdict

FixtureKind = Literal["full", "zero", "malformed", "adversarial", "determinism"]


@dataclass(frozen=True)
class Fixture:
    """One labelled test case of a verifier.

    Args:
        kind: ``full`` (right answer), ``zero`` (wrong), ``malformed``, ``adversarial`` (an attempt to get a
            reward without a right answer) or ``determinism``.
        reference: the reference answer.
        response: a possible response of a model.
        expected: the expected score; ``None`` if the response must be left unscored.
        note: a short description of the case.
    """

    kind: FixtureKind
    reference: str
    response: str
    expected: float | None
    note: str = ""


class Verifier(Configurable):
    """Base of verifiers. A subclass implements ``verify``; the rest has defaults.

    A wrong answer is scored 0. An undetermined result is a Verdict of another status, never a score.
    """

    kind: ClassVar[str] = "verifier"
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def verify(self, reference: str, response: str) -> Verdict:
        """Score one response. Must not raise for any text."""
        raise NotImplementedError

    def verify_batch(self, references: Sequence[str], responses: Sequence[str]) -> list[Verdict]:
        """Score several responses; entry i belongs to pair i.

        Raises:
            VerifierError: the two sequences differ in length.
        """
        check_pairs(references, responses)
        with attribute_errors(self):
            pairs = zip(references, responses, strict=True)
            return [check_verdict(self, self.verify(reference, response)) for reference, response in pairs]

    async def verify_async(self, reference: str, response: str) -> Verdict:
        """``verify`` without blocking the event loop."""
        return await asyncio.to_thread(self.verify, reference, response)

    def repeats_question(self, question: str, reference: str, response: str) -> bool:
        """Whether the answer of a response is a copy from the question; environments then score it 0.

        ``verify`` does not receive the question. The default returns False.
        """
        return False

    def without_nouns(self, question: str, reference: str, response: str) -> str:
        """The response that environments pass to ``verify``, without words that only name what the question counts.

        ``verify`` does not receive the question. The default returns the response.
        """
        return response

    def unjudgeable(self, references: Sequence[str]) -> list[str]:
        """Why no answer can be compared with each reference; empty for an ordinary one.

        Environments count such tasks when they are loaded. The default finds none.
        """
        return [""] * len(references)

    def fixtures(self) -> Sequence[Fixture]:
        """The labelled cases of the verifier; ``fdiv-gym check verifier`` measures its error rates on them."""
        return ()

    def close(self) -> None:
        """Release processes and files; may be called more than once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_pairs(references: Sequence[str], responses: Sequence[str]) -> None:
    """Raise VerifierError unless both have the same length."""
    if len(references) != len(responses):
        raise VerifierError(f"{len(references)} references but {len(responses)} responses")


def get_verifier(spec: Spec | Verifier, **options: Any) -> Verifier:
    """A verifier of answers, e.g. ``get_verifier("math")``; see ``fdiv_gym.get``."""
    plugin: Verifier = get("verifier", spec, **options)
    return plugin
