"""Pool: the caller's end of the worker processes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from fdiv_gym.errors import VerifierError
from fdiv_gym.registry import start_python
from fdiv_gym_mathverify.messages import Result

_START_S = 60.0
_STOP_S = 5.0
_BOOT = (
    "import json, os, sys\n"
    "try:\n"
    "    from fdiv_gym_mathverify.helper import run\n"
    "    run()\n"
    "except Exception as error:\n"
    "    message = json.dumps({'fatal': f'{type(error).__name__}: {error}'})\n"
    "    os.write(int(sys.argv[2]), message.encode() + b'\\n')\n"
    "    raise SystemExit(1)\n"
)


class _Job(Future[Result]):
    """The future result of one job, with the message that is sent for it."""

    def __init__(self, number: int, message: dict[str, Any]) -> None:
        super().__init__()
        self.number = number
        self.message = message
        self.retried = False
        self.set_running_or_notify_cancel()


OnLoss = Callable[[], Callable[[list[_Job], str], None] | None]
"""Returns the function that takes lost jobs and the reason, or None if its pool no longer exists."""


class _Connection:
    """One helper process: its pipes and its open jobs."""

    def __init__(self, workers: int, memory_bytes: int, on_loss: OnLoss) -> None:
        self.owner = os.getpid()
        self.pending: dict[int, _Job] = {}
        self.stopping = False
        self._on_loss = on_loss
        self.lock = threading.Lock()
        self.alive = True
        self.ready: Future[None] = Future()
        self.ready.set_running_or_notify_cancel()
        read_jobs, write_jobs = os.pipe()
        read_results, write_results = os.pipe()
        try:
            numbers = (read_jobs, write_results, workers, memory_bytes)
            self.process = start_python(_BOOT, numbers, (read_jobs, write_results))
        except OSError as error:
            for fd in (write_jobs, read_results):
                os.close(fd)
            raise VerifierError(f"the helper process of the math verifier did not start: {error}") from error
        finally:
            os.close(read_jobs)
            os.close(write_results)
        # Unbuffered: closing a forked copy must not send data again.
        self.jobs = open(write_jobs, "wb", buffering=0)  # noqa: SIM115 - closed by stop()
        self.reader = threading.Thread(target=self._read, args=(read_results,), daemon=True)
        self.reader.start()

    def send(self, messages: Iterable[dict[str, Any]]) -> None:
        """Write messages to the helper."""
        data = memoryview(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
        with self.lock:
            while data and not self.jobs.closed:
                data = data[self.jobs.write(data) :]

    def stop(self) -> None:
        """End the helper and its workers; the results of open jobs become errors."""
        self.stopping = True
        if self.owner != os.getpid():
            # A forked copy closes its own end; the lock may have been held at the fork.
            self.jobs.close()
            return
        with contextlib.suppress(OSError), self.lock:
            self.jobs.close()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if threading.current_thread() is not self.reader:
            self.reader.join(_STOP_S)

    def _read(self, fd: int) -> None:
        problem = "the helper process of the math verifier ended"
        with open(fd, "rb") as results:
            for line in results:
                message = json.loads(line)
                if "id" in message:
                    future = self.pending.pop(message["id"], None)
                    if future is not None:
                        future.set_result(tuple(message["result"]))
                elif "ready" in message:
                    self.ready.set_result(None)
                else:
                    problem = f"the workers of the math verifier did not start: {message['fatal']}"
        self.alive = False
        with contextlib.suppress(subprocess.TimeoutExpired):  # reap the process
            self.process.wait(_STOP_S)
        if not self.ready.done():
            self.ready.set_exception(VerifierError(problem))
        lost = []
        while self.pending:
            lost.append(self.pending.popitem()[1])
        if self.stopping:
            _fail(lost, problem)
        elif lost:
            retry = self._on_loss()  # weak: this thread must not keep a pool that nobody uses
            if retry is None:
                _fail(lost, problem)
            else:
                retry(lost, problem)


class WorkerPool:
    """Killable workers, started at the first use and again after a loss or in a forked process.

    Args:
        workers: number of processes.
        memory_bytes: limit of address space of each.
    """

    def __init__(self, workers: int, memory_bytes: int) -> None:
        self._workers = workers
        self._memory_bytes = memory_bytes
        self._connection: _Connection | None = None
        self._finalizer: Any = None
        self._lock = threading.Lock()
        self._lock_owner = os.getpid()
        self._numbers = itertools.count()

    @property
    def pid(self) -> int | None:
        """The process id of the helper, if it runs."""
        connection = self._connection
        return connection.process.pid if connection is not None and connection.alive else None

    def start(self) -> None:
        """Start the workers unless they run, and wait until one is ready.

        Raises:
            VerifierError: they did not start.
        """
        self._connected()

    def submit(self, jobs: Iterable[list[tuple[str, str]]], deadline_s: float) -> list[Future[Result]]:
        """Queue jobs, each a list of pairs to be judged within ``deadline_s`` from its own start.

        Raises:
            VerifierError: the workers did not start.
        """
        made = []
        for pairs in jobs:
            number = next(self._numbers)
            made.append(_Job(number, {"id": number, "pairs": pairs, "deadline": deadline_s}))
        self._send(self._connected(), made)
        return list(made)

    def drop(self, futures: Iterable[Future[Result]]) -> None:
        """Drop jobs whose results are no longer needed; a running one is killed."""
        connection = self._connection
        if connection is None:
            return
        numbers = [future.number for future in futures if isinstance(future, _Job) and not future.done()]
        for number in numbers:
            connection.pending.pop(number, None)
        with contextlib.suppress(OSError):
            connection.send([{"cancel": numbers}])

    def close(self) -> None:
        """End all processes. The pool may be used again afterwards."""
        with self._own_lock():
            self._connection = None
            if self._finalizer is not None:
                self._finalizer()
                self._finalizer = None

    def _connected(self) -> _Connection:
        with self._own_lock():
            connection = self._connection
            if connection is not None and connection.owner == os.getpid() and connection.alive:
                return connection
            if self._finalizer is not None:
                self._finalizer()
            connection = _Connection(self._workers, self._memory_bytes, weakref.WeakMethod(self._retry))
            self._finalizer = weakref.finalize(self, connection.stop)
            try:
                connection.ready.result(_START_S)
            except TimeoutError:
                self._finalizer()
                raise VerifierError(f"the workers of the math verifier were not ready in {_START_S:.0f} s") from None
            self._connection = connection
            return connection

    def _own_lock(self) -> threading.Lock:
        # A lock that another thread held at the moment of a fork is never released in the child.
        if self._lock_owner != os.getpid():
            self._lock, self._lock_owner = threading.Lock(), os.getpid()
        return self._lock

    def _send(self, connection: _Connection, jobs: list[_Job]) -> None:
        connection.pending.update((job.number, job) for job in jobs)
        with contextlib.suppress(OSError):  # a helper that just ended: its open jobs are lost
            connection.send(job.message for job in jobs)
        if not connection.alive:
            lost = [job for job in jobs if connection.pending.pop(job.number, None) is not None]
            self._retry(lost, "the helper process of the math verifier ended")

    def _retry(self, lost: list[_Job], problem: str) -> None:
        """Send jobs of a helper that was lost to a new one, once each; the second loss is an error."""
        _fail([job for job in lost if job.retried], problem)
        again = [job for job in lost if not job.retried]
        if again:
            for job in again:
                job.retried = True
            # In a thread of its own: this one may be the reader that the start of a new helper waits for.
            threading.Thread(target=self._resend, args=(again, problem), daemon=True).start()

    def _resend(self, jobs: list[_Job], problem: str) -> None:
        try:
            connection = self._connected()
        except VerifierError as error:
            _fail(jobs, f"{problem}, and a new one did not start: {error}")
        else:
            self._send(connection, jobs)


def _fail(jobs: Iterable[_Job], problem: str) -> None:
    for job in jobs:
        job.set_result(("error", None, problem))
