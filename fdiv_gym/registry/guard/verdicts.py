"""Guards around scoring: environments, verifiers and judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from fdiv_gym.errors import EnvError, FdivGymError, JudgeError, VerifierError
from fdiv_gym.registry.guard.boundaries import Plugin, attribute_errors, boundary, label_of
from fdiv_gym.registry.messages import cause_of, shorten
from fdiv_gym.types.task import Task, groups_of
from fdiv_gym.types.verdict import Status, Verdict, is_finite_number

T = TypeVar("T")

_ERRORS: dict[str, type[FdivGymError]] = {"verifier": VerifierError, "judge": JudgeError}


class Scorer(Plugin, Protocol):
    """The environment method called here."""

    def score_batch(self, tasks: Sequence[Task], responses: Sequence[str]) -> Any: ...  # noqa: D102


class AnswerChecker(Plugin, Protocol):
    """The verifier method called here."""

    def verify_batch(self, references: Sequence[str], responses: Sequence[str]) -> Any: ...  # noqa: D102


def verdicts_of(env: Scorer, tasks: Sequence[Task], responses: Sequence[str]) -> list[Verdict]:
    """``env.score_batch``, checked; a pair that raises gets a verdict of status ``error``.

    Raises:
        EnvError: the wrong number of verdicts, an item that is not a Verdict, or a score out of range.
    """

    def judge(some: Sequence[Task], texts: Sequence[str]) -> Sequence[Verdict]:
        # Checked inside: if pairs are scored one by one, each part must be complete.
        with attribute_errors(env):
            verdicts = env.score_batch(some, texts)
        return check_verdicts(env, verdicts, len(texts), call="score_batch")

    with attribute_errors(env):
        return _batch_or_groups(judge, tasks, responses)


def verified_by(verifier: AnswerChecker, references: Sequence[str], responses: Sequence[str]) -> list[Verdict]:
    """``verifier.verify_batch``, checked. Environments call it, so that an error names the verifier.

    An exception is passed on: the caller of the environment then scores each pair separately.

    Raises:
        VerifierError: the wrong number of verdicts, an item that is not a Verdict, or a score out of range.
    """
    with attribute_errors(verifier):
        verdicts: object = verifier.verify_batch(references, responses)
    return check_verdicts(verifier, verdicts, len(responses), call="verify_batch")


def check_verdict(judge: Plugin, verdict: object) -> Verdict:
    """Refuse what is not a Verdict within the declared range of an environment, a verifier or a judge.

    Raises:
        EnvError: (or VerifierError, JudgeError) naming the plugin, the value and what was expected.
    """
    error = _ERRORS.get(judge.kind, EnvError)
    if not isinstance(verdict, Verdict):
        raise error(f"{label_of(judge)} must return a Verdict, got {shorten(verdict)}")
    low, high = score_range_of(judge)
    if verdict.score is not None and not low <= verdict.score <= high:
        raise error(
            f"{label_of(judge)} returned the score {verdict.score!r}, outside its declared range [{low}, {high}]"
        )
    if not isinstance(verdict.components, Mapping):
        raise error(f"{label_of(judge)} returned the components {shorten(verdict.components)}, expected a mapping")
    for name, value in verdict.components.items():
        if not isinstance(name, str):
            raise error(f"{label_of(judge)} returned a component named {shorten(name)}, expected a string")
        if not is_finite_number(value):
            raise error(
                f"{label_of(judge)} returned the component {name!r} = {shorten(value)}, expected a finite number"
            )
    if not isinstance(verdict.detail, str):
        raise error(f"{label_of(judge)} returned the detail {shorten(verdict.detail)}, expected a string")
    return verdict


def check_verdicts(judge: Plugin, verdicts: object, count: int, call: str = "") -> list[Verdict]:
    """``check_verdict`` of each verdict, and a check of their number.

    Args:
        judge: the plugin that returned them.
        verdicts: the returned verdicts.
        count: the expected number.
        call: the method, for the message.

    Raises:
        EnvError: (or VerifierError, JudgeError) naming the plugin, what it returned and what was expected.
    """
    error = _ERRORS.get(judge.kind, EnvError)
    if not isinstance(verdicts, Sequence) or isinstance(verdicts, (str, bytes)):
        where = f"{label_of(judge)}: {call}" if call else label_of(judge)
        raise error(f"{where} must return a list of Verdict, got {shorten(verdicts)}")
    if len(verdicts) != count:
        raise error(f"{label_of(judge)} returned {len(verdicts)} verdicts for {count} responses")
    return [check_verdict(judge, verdict) for verdict in verdicts]


def batch_or_alone(
    judge: Callable[[Sequence[T], Sequence[str]], Iterable[Verdict]], against: Sequence[T], responses: Sequence[str]
) -> list[Verdict]:
    """The verdicts of a batch. If the call fails, each pair is scored alone, with ``error`` if it fails again.

    Args:
        judge: ``score_batch`` or ``verify_batch``.
        against: tasks or references.
        responses: one for each entry of ``against``.

    Raises:
        FdivGymError: the judge itself raised one.
    """
    verdicts = _one_call(judge, against, responses)
    if verdicts is not None:
        return verdicts
    pairs = zip(against, responses, strict=True)
    return [verdict for one, response in pairs for verdict in batch_or_alone(judge, [one], [response])]


def _batch_or_groups(
    judge: Callable[[Sequence[Task], Sequence[str]], Iterable[Verdict]], tasks: Sequence[Task], responses: Sequence[str]
) -> list[Verdict]:
    """The verdicts of a batch; if the call fails, each group is scored by itself.

    A response of a failing group that fails alone is ``error``. The others are scored together again, because a judge
    may compare them.

    Raises:
        FdivGymError: the judge itself raised one.
    """
    together = _one_call(judge, tasks, responses)
    if together is not None:
        return together

    def again(places: Sequence[int]) -> dict[int, Verdict]:
        verdicts = _batch_or_groups(judge, [tasks[i] for i in places], [responses[i] for i in places])
        return dict(zip(places, verdicts, strict=True))

    found: dict[int, Verdict] = {}
    groups = groups_of(tasks)
    if len(groups) > 1:
        for places in groups:
            found |= again(places)
    else:
        for place in range(len(tasks)):
            found |= again([place])
        rest = [place for place, verdict in found.items() if verdict.status is not Status.ERROR]
        if 1 < len(rest) < len(tasks):
            found |= again(rest)
    return [found[place] for place in range(len(tasks))]


def _one_call(
    judge: Callable[[Sequence[T], Sequence[str]], Iterable[Verdict]], against: Sequence[T], responses: Sequence[str]
) -> list[Verdict] | None:
    """The verdicts of a call that succeeds, or one of status ``error`` for a single response; None of other failures.

    Raises:
        FdivGymError: the judge itself raised one.
    """
    try:
        return list(judge(against, responses))
    except (FdivGymError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a scorer that exits must not end the run without a message
        return [Verdict.error(cause_of(error)[:200])] if len(responses) == 1 else None


def score_range_of(judge: Plugin) -> tuple[float, float]:
    """``score_range`` of an environment, a verifier or a judge, checked.

    Raises:
        PluginError: it is a property that failed.
        EnvError: (or VerifierError, JudgeError) it is not a pair (low, high) of finite numbers with low < high.
    """
    with boundary(judge, "score_range"):
        declared: Any = getattr(judge, "score_range", None)
    try:
        low, high = declared
        fine = is_finite_number(low) and is_finite_number(high) and low < high
    except (TypeError, ValueError):
        fine = False
    if not fine:
        error = _ERRORS.get(judge.kind, EnvError)
        raise error(f"{label_of(judge)}: score_range must be (low, high) with low < high, got {shorten(declared)}")
    return low, high
