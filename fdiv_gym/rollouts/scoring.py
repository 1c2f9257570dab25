"""Scoring: an environment's verdicts on a batch, and the ledger of timeouts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from fdiv_gym.envs.base import Environment, ScoringOptions
from fdiv_gym.registry.guard import batch_or_alone, verdicts_of, verified_by
from fdiv_gym.rewards.verifier import Verifier
from fdiv_gym.rollouts.isolation.place import scored_in_place
from fdiv_gym.types.task import Task
from fdiv_gym.types.verdict import Status, Verdict


class TimeoutLedger:
    """The (task, response) pairs that timed out; a resumed run gives them the same verdict without scoring.

    Args:
        known: keys of an earlier attempt.
        remember: called with each new key.
    """

    def __init__(self, known: Iterable[str] = (), remember: Callable[[str], None] | None = None) -> None:
        self._known = set(known)
        self._remember = remember or (lambda key: None)

    @staticmethod
    def key(task: Task, response: str) -> str:
        """A content hash of the pair."""
        return hashlib.sha256(f"{task.hash}:{response}".encode("utf-8", "surrogatepass")).hexdigest()[:24]

    def timed_out(self, task: Task, response: str) -> bool:
        """Whether the pair timed out before."""
        return bool(self._known) and self.key(task, response) in self._known

    def record(self, task: Task, response: str, verdict: Verdict) -> None:
        """Record the pair if its verdict is a new timeout."""
        if verdict.status is Status.TIMEOUT and not self.timed_out(task, response):
            key = self.key(task, response)
            self._known.add(key)
            self._remember(key)


def score_checked(
    env: Environment, tasks: Sequence[Task], responses: Sequence[str], ledger: TimeoutLedger | None = None
) -> list[Verdict]:
    """``env.score_batch`` behind a boundary, in the place that ``env.isolate`` says.

    If ``score_batch`` raises, every pair is scored separately, and each pair that still raises gets a verdict
    of status ``error``. So a response that makes scoring fail affects only its own verdict. A plugin of others is
    called in a process of its own: a batch over its deadline is ``timeout``, one that ends the process is ``error``.

    Raises:
        EnvError: the wrong number of verdicts, an item that is not a Verdict, a score out of range, or repeated batches
            over the deadline.
        ConfigError: isolation was asked for and is not possible.
    """
    if ledger is not None:
        fresh = [i for i, pair in enumerate(zip(tasks, responses, strict=True)) if not ledger.timed_out(*pair)]
        judged, own = _scored(env, [tasks[i] for i in fresh], [responses[i] for i in fresh])
        verdicts = [Verdict.timeout("timed out in an earlier attempt of this run")] * len(tasks)
        for i, verdict in zip(fresh, judged, strict=True):
            verdicts[i] = verdict
            if own:  # else a pair beside one that hangs would never be scored again
                ledger.record(tasks[i], responses[i], verdict)
        return verdicts
    return _scored(env, tasks, responses)[0]


def _scored(env: Environment, tasks: Sequence[Task], responses: Sequence[str]) -> tuple[list[Verdict], bool]:
    """The verdicts, and whether each is that of its own pair and not that of a batch that was stopped as a whole."""
    if not tasks:
        return [], True
    options = getattr(env, "options", None)
    if not isinstance(options, ScoringOptions):  # not built by the registry
        return verdicts_of(env, tasks, responses), True
    return scored_in_place(env, options, lambda: verdicts_of(env, tasks, responses), tasks, responses)


def verify_checked(
    verifier: Verifier, options: ScoringOptions, tasks: Sequence[Task], responses: Sequence[str]
) -> list[Verdict]:
    """``score_checked`` by a verifier alone, against the reference answers of the tasks.

    Raises:
        VerifierError: the verifier broke its contract.
        EnvError: repeated batches over the deadline.
        ConfigError: isolation was asked for and is not possible.
    """
    references = [task.answer or "" for task in tasks]

    def here() -> list[Verdict]:
        return batch_or_alone(lambda some, texts: verified_by(verifier, some, texts), references, responses)

    return scored_in_place(verifier, options, here, references, responses)[0]
