"""MathVerifier: compares responses with reference answers, exactly, in parallel and with a deadline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Self

import pydantic

from fdiv_gym.registry import Options as BaseOptions
from fdiv_gym.rewards import (
    AnswerFormat,
    Fixture,
    Verifier,
    check_pairs,
    extract,
    in_form,
    normalise,
    reference_answer,
)
from fdiv_gym.types import Status, Verdict
from fdiv_gym_mathverify import fast
from fdiv_gym_mathverify.choices import choice, contradicts_option, listed
from fdiv_gym_mathverify.comparison import Pair
from fdiv_gym_mathverify.echo import copies_question
from fdiv_gym_mathverify.filter import Limits
from fdiv_gym_mathverify.fixtures import load_fixtures
from fdiv_gym_mathverify.labels import without_label
from fdiv_gym_mathverify.messages import Result
from fdiv_gym_mathverify.plan import Plan, make_plan, plan_all
from fdiv_gym_mathverify.pool import WorkerPool
from fdiv_gym_mathverify.references import is_plain, probes

_BUDGET_BASE_S = 60.0
_BUDGET_EACH_S = 0.2
_MOST_REFERENCES = 100_000
_MEBIBYTE = 1 << 20


class MathVerifierOptions(BaseOptions):
    """Options of the verifier."""

    deadline_s: float = pydantic.Field(5.0, gt=0, description="Seconds for one pair, counted from its start.")
    workers: int = pydantic.Field(2, ge=1, description="Worker processes.")
    batch_budget_s: float | None = pydantic.Field(
        None, gt=0, description="Seconds for one batch; unset: 60 and 0.2 for each pair that needs a worker."
    )
    extraction: AnswerFormat = pydantic.Field("boxed", description="The place of the answer in a response.")
    strict: bool = pydantic.Field(
        False, description="Only the form of the reference: one box, and no words but the reference's own unit."
    )
    allow_unevaluated: bool = pydantic.Field(False, description="Accept 12*13 where the reference is 156.")
    max_length: int = pydantic.Field(1000, ge=1, description="Characters of an answer.")
    max_depth: int = pydantic.Field(20, ge=1, le=40, description="Nested brackets of an answer.")
    max_exponent: int = pydantic.Field(10_000, ge=1, description="Largest numeral in an exponent or factorial.")
    memory_mb: int = pydantic.Field(1024, ge=512, description="Address space of a worker, in MiB.")


class MathVerifier(Verifier):
    """Scores 1 if the answer of a response equals the reference, 0 if not.

    Numbers are compared in this process; the rest is compared by math-verify in killable workers, which
    start at the first pair that needs them or on entering ``with``. Safe from any thread, from asyncio and
    in daemonic processes. A copy made by pickling starts its own workers.

    Raises:
        ConfigError: an option is unknown or has a wrong value.
    """

    Options = MathVerifierOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._limits = Limits(
            length=self.options.max_length, depth=self.options.max_depth, exponent=self.options.max_exponent
        )
        self._judgeable: dict[str, str] = {}
        self._pool = self._new_pool()

    def verify(self, reference: str, response: str) -> Verdict:
        """Judge one response; no text raises an error.

        Raises:
            VerifierError: the worker processes cannot be started.
        """
        return self.verify_batch([reference], [response])[0]

    def verify_batch(self, references: Sequence[str], responses: Sequence[str]) -> list[Verdict]:
        """Judge many, in parallel where workers are needed.

        Raises:
            VerifierError: the sequences differ in length, or the worker processes cannot be started.
        """
        check_pairs(references, responses)
        verdicts: list[Verdict | None] = []
        jobs: list[tuple[int, list[Pair]]] = []
        for index, (reference, response) in enumerate(zip(references, responses, strict=True)):
            verdict, pairs = self._decide(reference, response)
            verdicts.append(verdict)
            if verdict is None:
                jobs.append((index, pairs))
        doubtful = self._doubtful(references)
        results = self._work([pairs for _, pairs in jobs] + [pairs for _, pairs in doubtful])
        for (index, _), verdict in zip(jobs, results[: len(jobs)], strict=True):
            verdicts[index] = verdict
        for (reference, _), verdict in zip(doubtful, results[len(jobs) :], strict=True):
            self._judgeable[reference] = verdict.detail if verdict.status is Status.UNSCORABLE else ""
        return [
            Verdict.unscorable(reason) if (reason := self._judgeable.get(reference)) else verdict
            for reference, verdict in zip(references, verdicts, strict=True)
            if verdict is not None
        ]

    def unjudgeable(self, references: Sequence[str]) -> list[str]:
        """Why no answer can be compared with each reference; empty for an ordinary one."""
        form = self.options.extraction
        verdicts = self.verify_batch(references, [in_form(reference_answer(text), form) for text in references])
        return [verdict.detail if verdict.status is Status.UNSCORABLE else "" for verdict in verdicts]

    def _doubtful(self, references: Sequence[str]) -> list[tuple[str, list[Pair]]]:
        """Wrong answers to references that may be no mathematics, each reference once.

        What is known of a reference then depends on it alone, not on the answers that were judged before.
        """
        jobs: dict[str, list[Pair]] = {}
        if len(self._judgeable) + len(references) > _MOST_REFERENCES:
            self._judgeable.clear()
        for reference in references:
            if reference in self._judgeable or reference in jobs:
                continue
            gold = reference_answer(reference)
            plans = () if is_plain(gold) else (make_plan(gold, probe, self._limits) for probe in probes(gold))
            pairs = next((list(plan.pairs) for plan in plans if plan.pairs), None)
            if pairs:
                jobs[reference] = pairs
            else:
                self._judgeable[reference] = ""
        return list(jobs.items())

    def repeats_question(self, question: str, reference: str, response: str) -> bool:
        """Whether the answer is copied from the question and not evaluated, or names an option with another's value."""
        found = extract(response, self.options.extraction, not self.options.strict)
        answers = found.answers if found.answer is None else (found.answer,)
        if any(contradicts_option(normalise(answer), question) for answer in answers):
            return True
        if choice(normalise(reference_answer(reference))) is not None:
            return False  # options are there to be copied
        given = [choice(normalise(answer)) for answer in answers]
        values = [one.value if one and one.value else text for one, text in zip(given, answers, strict=True)]
        return any(copies_question(value, reference, question) for value in values)

    def without_nouns(self, question: str, reference: str, response: str) -> str:
        """The response in the form that the question asks for.

        It loses words of the question after its number, if the reference is a bare number, and letters of options
        that stand side by side become a list.
        """
        found = extract(response, self.options.extraction, not self.options.strict)
        longest = self.options.max_length
        if self.options.strict or found.answer is None or max(len(found.answer), len(reference)) > longest:
            return response
        answer = normalise(found.answer)
        gold = normalise(reference_answer(reference))
        bare = listed(without_label(gold, answer, question), gold, question)
        return response if bare == answer else in_form(bare, self.options.extraction)

    def fixtures(self) -> Sequence[Fixture]:
        """The labelled cases; they hold for the default options."""
        return load_fixtures()

    def close(self) -> None:
        """End all processes; a later ``verify`` starts them again."""
        self._pool.close()

    def __enter__(self) -> Self:
        self._pool.start()
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_pool"], state["_judgeable"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._judgeable = {}
        self._pool = self._new_pool()

    def _new_pool(self) -> WorkerPool:
        return WorkerPool(self.options.workers, self.options.memory_mb * _MEBIBYTE)

    def plan(self, reference: str, response: str) -> Plan:
        """The decision by the form of both texts, or the pairs that are left to compare."""
        found = extract(response, self.options.extraction, not self.options.strict)
        options = self.options
        gold = reference_answer(reference)
        return plan_all(gold, found, self._limits, options.allow_unevaluated, options.strict)

    def _decide(self, reference: str, response: str) -> tuple[Verdict | None, list[Pair]]:
        plan = self.plan(reference, response)
        if plan.unscorable:
            return Verdict.unscorable(plan.unscorable), []
        if plan.score is not None:
            return Verdict.scored(plan.score, plan.detail), []
        open_pairs = []
        for pair in plan.pairs:
            same = fast.decide(*pair)
            if same is False:
                return Verdict.scored(0.0, "different number"), []
            if same is None:
                open_pairs.append(pair)
        return (None, open_pairs) if open_pairs else (Verdict.scored(1.0, "same number"), [])

    def _work(self, jobs: list[list[Pair]]) -> list[Verdict]:
        if not jobs:
            return []
        budget = self.options.batch_budget_s or _BUDGET_BASE_S + _BUDGET_EACH_S * len(jobs)
        # Short pairs first: if the budget ends, it is on long answers.
        order = sorted(range(len(jobs)), key=lambda place: sum(len(answer) for _, answer in jobs[place]))
        futures = self._pool.submit([jobs[place] for place in order], self.options.deadline_s)
        end = time.monotonic() + budget
        try:
            verdicts = {place: _verdict(future, end) for place, future in zip(order, futures, strict=True)}
            return [verdicts[place] for place in range(len(jobs))]
        finally:
            if any(not future.done() for future in futures):
                self._pool.drop(futures)


def _verdict(future: Future[Result], end: float) -> Verdict:
    try:
        status, score, detail = future.result(max(0.0, end - time.monotonic()))
    except FutureTimeout:
        return Verdict.timeout("the time budget of the batch is used up")
    if status == "scored" and score is not None:
        return Verdict.scored(score, detail)
    return {"unscorable": Verdict.unscorable, "timeout": Verdict.timeout}.get(status, Verdict.error)(detail)
