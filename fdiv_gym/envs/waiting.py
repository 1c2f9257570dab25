"""Waiting: asynchronous calls of many episodes, awaited together in one event loop that lives as long as the process.

A client of a server belongs to the loop in which it was used first. So the loop is not made anew for each turn: an
episode may keep a connection from turn to turn, and an environment from batch to batch.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import inspect
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from fdiv_gym.rewards.judge import run_async

log = logging.getLogger(__name__)

THREADS = 64
"""Threads of ``asyncio.to_thread`` in the loop, at most; asyncio's own default is a few for each core."""
UNWIND_S = 5.0
"""Seconds in which cancelled calls may end after Ctrl-C."""


class LateError(Exception):
    """A call took longer than it may."""


@dataclass(frozen=True)
class Raised:
    """In place of a result: what was raised."""

    error: BaseException


class EventLoop:
    """A thread with an event loop; started at the first use, and again in a forked process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._nested = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, start: Callable[[], Coroutine[Any, Any, Any]], *, lets_end: bool = False) -> Any:
        """The result of a coroutine; the calling thread may have a running loop of its own.

        An exception in this thread, such as Ctrl-C, cancels the coroutine; with ``lets_end``, only if it has not ended
        ``UNWIND_S`` seconds later, or at a second one.
        """
        loop, thread = self._running()
        if threading.current_thread() is thread:  # an episode that runs episodes: waiting here would stop the loop
            self._nested += 1
            try:
                return run_async(start)
            finally:
                self._nested -= 1
        if self._nested:  # perhaps by what the loop itself waits for: an episode in an episode that runs episodes
            return run_async(start)
        # Ctrl-C may come before the future is known here, and the coroutine run already: it tells its task itself.
        tasks: list[asyncio.Task[Any] | None] = []
        ended, stopped = threading.Event(), threading.Event()

        async def tell() -> Any:
            tasks.append(asyncio.current_task())
            try:
                if stopped.is_set():
                    raise asyncio.CancelledError
                return await start()
            finally:
                ended.set()

        def cancel() -> None:
            for task in tasks:
                if task is not None:
                    task.cancel()

        try:
            return asyncio.run_coroutine_threadsafe(tell(), loop).result()
        except BaseException:
            try:
                if lets_end:
                    ended.wait(UNWIND_S)
            finally:
                if not ended.is_set():
                    stopped.set()
                    loop.call_soon_threadsafe(cancel)
                    ended.wait(UNWIND_S)
            raise

    def close(self) -> None:
        """End the loop and its thread; a later call starts another."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None or self._owner != os.getpid():
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(UNWIND_S)
        if not thread.is_alive():
            loop.close()

    def _running(self) -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        if self._owner != os.getpid():  # forked: the thread was not, and the lock may be held by one that was not
            self._lock, self._loop, self._thread, self._nested = threading.Lock(), None, None, 0
        with self._lock:
            if self._loop is None or self._thread is None:
                self._owner = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(THREADS, "fdiv-gym-tool"))
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="fdiv-gym-episodes", daemon=True
                )
                self._thread.start()
            return self._loop, self._thread


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except BaseException as error:  # a task of a plugin's own called sys.exit: the others go on
            log.warning("a task in the event loop of the episodes raised %s", type(error).__name__)
        else:
            return


event_loop = EventLoop()
atexit.register(event_loop.close)


def awaited(
    calls: Sequence[Awaitable[Any]], limit_s: float, progress: Callable[[], object], *, lets_end: bool = False
) -> list[Any]:
    """The results of calls that are awaited together, in their order; ``Raised`` in place of a result.

    Args:
        calls: coroutines, futures or other awaitables.
        limit_s: seconds for each; a call that takes longer is cancelled, and has raised a ``LateError``.
        progress: called in the loop whenever a call begins or ends.
        lets_end: whether the calls may end after Ctrl-C; see ``EventLoop.run``.
    """
    begun = False

    async def together() -> list[Any]:
        nonlocal begun
        begun = True
        return list(await asyncio.gather(*(_limited(call, limit_s, progress) for call in calls)))

    try:
        return list(event_loop.run(together, lets_end=lets_end))
    finally:
        if not begun:
            abandon(calls)


def abandon(calls: Sequence[object]) -> None:
    """Drop what will not be awaited; else Python warns of coroutines that never were."""
    for call in calls:
        if inspect.iscoroutine(call):
            with contextlib.suppress(ValueError):  # it runs in the loop
                call.close()


async def _limited(call: Awaitable[Any], limit_s: float, progress: Callable[[], object]) -> Any:
    progress()
    scope = asyncio.timeout(limit_s)
    result: Any
    try:
        async with scope:
            result = await call
    except BaseException as error:  # GeneratorExit too: a coroutine that is closed may return
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        result = Raised(error)
    finally:
        progress()
    return Raised(LateError()) if scope.expired() else result


def _is_cancelled() -> bool:
    """Whether the whole batch is cancelled, and not only this call by code of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
