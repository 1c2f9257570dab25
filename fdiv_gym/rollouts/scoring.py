"""Scoring: an environment's verdicts on a batch, and the ledger of timeouts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from fdiv_gym.envs.base import TextEnv
from fdiv_gym.registry.guard import verdicts_of
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
    env: TextEnv, tasks: Sequence[Task], responses: Sequence[str], ledger: TimeoutLedger | None = None
) -> list[Verdict]:
    """``env.score_batch`` behind a boundary.

    If ``score_batch`` raises, every pair is scored separately, and each pair that still raises gets a verdict
    of status ``error``. So a response that makes scoring fail affects only its own verdict.

    Raises:
        EnvError: the wrong number of verdicts, an item that is not a Verdict, or a score out of range.
    """
    if ledger is not None:
        fresh = [i for i, pair in enumerate(zip(tasks, responses, strict=True)) if not ledger.timed_out(*pair)]
        judged = score_checked(env, [tasks[i] for i in fresh], [responses[i] for i in fresh])
        verdicts = [Verdict.timeout("timed out in an earlier attempt of this run")] * len(tasks)
        for i, verdict in zip(fresh, judged, strict=True):
            verdicts[i] = verdict
            ledger.record(tasks[i], responses[i], verdict)
        return verdicts
    if not tasks:
        return []
    return verdicts_of(env, tasks, responses)
