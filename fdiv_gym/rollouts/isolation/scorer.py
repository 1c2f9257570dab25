"""IsolatedScorer: this process's side of a plugin that scores in a process of its own."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

from fdiv_gym.envs.base import ScoringOptions
from fdiv_gym.errors import EnvError
from fdiv_gym.registry.guard import label_of
from fdiv_gym.registry.options import Configurable
from fdiv_gym.rollouts.isolation.blueprint import Blueprint
from fdiv_gym.rollouts.isolation.child import Child, LateError, LostError
from fdiv_gym.rollouts.isolation.deadline import deadline_s
from fdiv_gym.types.verdict import Verdict

TIMEOUTS, BATCHES = 3, 20
"""So many batches over the deadline, among the last so many, stop the run."""

log = logging.getLogger(__name__)


class IsolatedScorer:
    """Scores in a worker that is started at the first batch, and again after a loss.

    Args:
        plugin: the environment or verifier, which ``Blueprint.of`` accepts; it keeps tasks, curriculum and metrics.
        options: deadline.
    """

    def __init__(self, plugin: Configurable, options: ScoringOptions) -> None:
        self._plugin = weakref.ref(plugin)
        self._label = label_of(plugin)
        self._locks: dict[int, threading.Lock] = {}  # by the id of this process: a fork may copy one that is held
        self._options = options
        self._blueprint = Blueprint.of(plugin)
        self._child: Child | None = None
        self._finalizer: Any = None
        self._late: deque[bool] = deque(maxlen=BATCHES)
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._earlier: dict[str, float] = {}

    def score(self, against: Sequence[Any], responses: Sequence[str]) -> tuple[list[Verdict], bool]:
        """The verdicts of one batch, and whether each is that of its own pair.

        A batch over its deadline is ``timeout`` as a whole, one whose worker ended is ``error`` as a whole. Batches of
        several threads are scored one after the other.

        Raises:
            EnvError: scoring exceeded its deadline repeatedly, or broke its contract.
            PluginError: the plugin cannot be built in another process.
        """
        with self._locks.setdefault(os.getpid(), threading.Lock()):
            return self._scored(against, responses)

    def _scored(self, against: Sequence[Any], responses: Sequence[str]) -> tuple[list[Verdict], bool]:
        count, limit = len(responses), deadline_s(self._options, len(responses))
        child = self._running()
        try:
            answer = child.score(list(against), list(responses), limit)
        except LateError:
            self._late.append(True)
            problem = f"scoring {count} responses took more than {limit:g} s and was stopped"
            self._tell_late(problem)
            return [Verdict.timeout(problem)] * count, count == 1
        except LostError as error:
            self._late.append(False)
            problem = f"the process that scored {count} responses {error}"
            log.warning("%s: %s; their verdicts are 'error'", self._label, problem)
            return [Verdict.error(problem)] * count, count == 1
        self._late.append(False)
        self._last = answer["counters"]
        return [Verdict.from_dict(record) for record in answer["verdicts"]], True

    def counters(self) -> dict[str, float]:
        """The environment's counters: its own here, and what its workers added; a killed batch adds nothing."""
        plugin: Any = self._plugin()
        own = dict(plugin.counters())
        added = self._added()
        return own | {name: own.get(name, 0) + value for name, value in added.items()}

    def close(self) -> None:
        """End the worker; the counters stay, and a later batch starts a new one."""
        self._forget()

    def __reduce__(self) -> tuple[Any, ...]:
        return _nobody, ()  # a copy of an environment starts a worker of its own

    def _running(self) -> Child:
        if self._child is not None and not self._child.usable:
            self._forget()
        if self._child is None:
            child = Child(self._blueprint, self._label)
            self._child, self._first, self._last = child, child.counters, child.counters
            self._finalizer = weakref.finalize(self, child.end)
        return self._child

    def _forget(self) -> None:
        self._earlier, self._first, self._last = self._added(), {}, {}
        if self._finalizer is not None:
            self._finalizer()
        self._child = self._finalizer = None

    def _added(self) -> dict[str, float]:
        names = [*self._earlier, *(name for name in self._last if name not in self._earlier)]
        return {n: self._earlier.get(n, 0) + self._last.get(n, 0) - self._first.get(n, 0) for n in names}

    def _tell_late(self, problem: str) -> None:
        if sum(self._late) >= TIMEOUTS:
            raise EnvError(
                f"{self._label}: {problem}, the third of the last {len(self._late)} batches: its scorer hangs on some "
                "responses; correct it, or raise env.score_deadline_s if it is only slow"
            )
        log.warning("%s: %s; their verdicts are 'timeout'", self._label, problem)


def _nobody() -> None:
    """The deputy of a copy."""
