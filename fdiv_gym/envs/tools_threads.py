"""Calls of synchronous functions in threads, each with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from fdiv_gym.registry.watchdog import watchdog

T = TypeVar("T")

MOST_THREADS = 256
"""Calls that run at once, of each event loop; further ones wait, and their time starts when they start."""

_slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()


class InterruptedCallError(BaseException):
    """Raised in a function that has reached its deadline; a BaseException, so that few functions catch it."""


async def in_thread(work: Callable[[], T], seconds: float, label: str) -> T:
    """The result of ``work``, which runs in a thread of its own.

    A function that overruns is interrupted as soon as it executes Python code, and left to itself: one that waits in a
    library, or catches every exception, keeps its thread until it returns. A library that never releases Python's
    global lock stops this process; the watchdog then ends it with a message.

    Args:
        work: called once; it must raise nothing but ``InterruptedCallError``.
        seconds: its deadline.
        label: whose code it is, for the watchdog.

    Raises:
        TimeoutError: it took longer.
    """
    loop = asyncio.get_running_loop()
    slots = _slots.setdefault(loop, asyncio.Semaphore(MOST_THREADS))
    async with slots:
        worker = _Worker(work, loop)
        with watchdog.watch(label, "a tool call (env.call_timeout_s)", 2 * seconds + 30):
            worker.start()
            try:
                return await asyncio.wait_for(worker.result, seconds)
            finally:
                worker.interrupt()


class _Worker(threading.Thread, Generic[T]):
    """The thread of one call."""

    def __init__(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="fdiv-gym tool", daemon=True)
        self._work, self._loop = work, loop
        self.result: asyncio.Future[T] = loop.create_future()
        self._lock = threading.Lock()
        self._over = False

    def run(self) -> None:
        try:
            try:
                value = self._work()
            finally:
                with self._lock:
                    self._over = True
                _set_exception(threading.get_ident(), None)  # set and not raised yet, if the call ended just then
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                self._loop.call_soon_threadsafe(self._tell, value)
        except InterruptedCallError:
            pass

    def interrupt(self) -> None:
        """Raise ``InterruptedCallError`` in the thread if it still works."""
        with self._lock:
            if not self._over and self.ident is not None:
                _set_exception(self.ident, InterruptedCallError)

    def _tell(self, value: T) -> None:
        if not self.result.done():
            self.result.set_result(value)


def _set_exception(thread: int, exception: type[BaseException] | None) -> None:
    raised = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
