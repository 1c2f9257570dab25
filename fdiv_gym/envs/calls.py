"""Calls into the episodes of a batch: each behind a boundary and a deadline, asynchronous ones awaited together."""

from __future__ import annotations

import contextlib
import inspect
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdiv_gym.envs.waiting import LateError, Raised, abandon, awaited
from fdiv_gym.errors import FdivGymError
from fdiv_gym.registry.guard import boundary, label_of
from fdiv_gym.registry.guard.boundaries import Plugin
from fdiv_gym.registry.messages import cause_of
from fdiv_gym.registry.watchdog import watchdog

DEADLINE_S = 60.0
CORE = Path(__file__).parents[1]
NAMES = {"begin": "the begin of an episode", "reply": "a reply", "close": "closing an episode"}


@dataclass(frozen=True)
class Failed:
    """What a call gave that did not succeed.

    Args:
        message: what failed, with the name of the plugin.
        late: whether it took too long.
    """

    message: str
    late: bool = False


def called(env: Plugin, name: str, calls: Sequence[Callable[[], Any]], limit_s: float) -> list[Any]:
    """The results of calls into episodes of an environment, in their order; ``Failed`` in place of one that failed.

    They are called one after the other; what they return as awaitables is awaited together. A call that takes longer
    than ``limit_s`` has failed. One that never returns, or never ends after it was cancelled, ends the run.

    Args:
        env: the environment, for messages.
        name: the name of the calls.
        calls: what to call.
        limit_s: seconds for each.
    """
    what = NAMES.get(name, f"the {name} of an episode")
    late = Failed(f"{what} took more than {limit_s:g} s (env.reply_deadline_s)", late=True)
    results: list[Any] = []
    with _Watch(label_of(env), f"{what} (env.reply_deadline_s)", limit_s) as watch:
        try:
            for call in calls:
                begun = watch.progress()
                results.append(_now(env, name, call))
                if time.monotonic() - begun > limit_s:
                    abandon(results[-1:])
                    results[-1] = late
        except BaseException:
            abandon(results)
            raise
        waiting = [i for i, result in enumerate(results) if inspect.isawaitable(result)]
        if waiting:
            # Ctrl-C does not cancel what releases something.
            found = awaited([results[i] for i in waiting], limit_s, watch.progress, lets_end=name == "close")
            for i, result in zip(waiting, found, strict=True):
                results[i] = _settled(env, name, result, late)
    return results


def _now(env: Plugin, name: str, call: Callable[[], Any]) -> Any:
    try:
        with boundary(env, name):
            return call()
    except FdivGymError as error:
        return Failed(str(error) + _place(error.__cause__))
    except GeneratorExit as error:  # no generator is closed here: the call itself raised it
        return Failed(f"{label_of(env)} failed in {name}: {cause_of(error)}")


def _place(error: BaseException | None) -> str:
    """Where the environment's code failed: its innermost frame in the file that was called first; may be empty."""
    frames = traceback.walk_tb(error.__traceback__ if error is not None else None)
    places = [(Path(frame.f_code.co_filename), line) for frame, line in frames]
    theirs = [(path, line) for path, line in places if not path.is_relative_to(CORE)]
    lines = [line for path, line in theirs if path == theirs[0][0]]
    return f" ({theirs[0][0].name}, line {lines[-1]})" if lines else ""


def _settled(env: Plugin, name: str, result: Any, late: Failed) -> Any:
    """The result of an awaited call; an exception as ``Failed``, but for Ctrl-C, which is raised."""
    if not isinstance(result, Raised):
        return result
    error = result.error
    if isinstance(error, LateError):
        return late
    if isinstance(error, KeyboardInterrupt):
        raise error

    def fail() -> None:
        raise error

    return _now(env, name, fail)


class _Watch:
    """The watchdog over a batch of calls, set again as they go on: only one that does not end is too much."""

    def __init__(self, label: str, work: str, limit_s: float) -> None:
        # Killed late: a call that is only slow costs its episode, not the run.
        self._watch = (label, work, 2 * limit_s + 5)
        self._often = limit_s / 2
        self._set = 0.0
        self._now = contextlib.ExitStack()

    def __enter__(self) -> _Watch:
        self._set = time.monotonic()
        self._now.enter_context(watchdog.watch(*self._watch))
        return self

    def __exit__(self, *_: object) -> None:
        self._now.close()

    def progress(self) -> float:
        """A call begins or ends; the time."""
        now = time.monotonic()
        if now - self._set > self._often:
            before, self._now, self._set = self._now, contextlib.ExitStack(), now
            self._now.enter_context(watchdog.watch(*self._watch))
            before.close()
        return now
