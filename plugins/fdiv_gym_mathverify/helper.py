"""Helper: the small process between a verifier and its workers.

It is a new process, started by ``subprocess``, so neither it nor its workers import the caller's ``__main__``, and
a daemonic process can start one too. It holds the pool, reads jobs from one pipe and writes results to another, one
JSON object on each line. When its pipe closes, it ends and stops its workers.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from concurrent.futures.process import BrokenProcessPool
from typing import Any, BinaryIO

from pebble import ProcessExpired, ProcessPool

from fdiv_gym_mathverify import remote
from fdiv_gym_mathverify.messages import SERVER_MARK, Result

_JOBS_PER_WORKER = 3
"""Jobs handed to the pool ahead of time: enough to keep a worker busy, and few to cancel."""
_TASKS_PER_PROCESS = 5000
_CPU_SLACK_S = 2
_TRIES = 3


class Server:
    """Feeds a pebble pool from a pipe.

    Args:
        workers: number of worker processes.
        memory_bytes: limit of address space of each.
        out: receives the results.
    """

    def __init__(self, workers: int, memory_bytes: int, out: BinaryIO) -> None:
        self._workers = workers
        self._memory_bytes = memory_bytes
        self._pool = self._new_pool()
        self._room = workers * _JOBS_PER_WORKER
        self._out = out
        self._lock = threading.RLock()
        self._queue: deque[dict[str, Any]] = deque()
        self._running: dict[int, tuple[dict[str, Any], Any]] = {}

    def warm_up(self) -> None:
        """Wait until a worker has answered once."""
        self._pool.schedule(remote.judge, args=[[("1", "1")], 60]).result(60)

    def handle(self, message: dict[str, Any]) -> None:
        """Handle one message of the caller: a job or a list of jobs to drop."""
        with self._lock:
            if "cancel" in message:
                self._cancel(set(message["cancel"]))
            else:
                self._queue.append(message)
            self._feed()

    def send(self, message: dict[str, Any]) -> None:
        """Write one message to the caller."""
        with self._lock:
            self._out.write(json.dumps(message).encode() + b"\n")
            self._out.flush()

    def close(self) -> None:
        """Stop the workers; queued jobs are dropped."""
        with self._lock:
            self._queue.clear()
        self._pool.stop()
        self._pool.join(timeout=2)

    def _new_pool(self) -> ProcessPool:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([remote.WORKER_MODULE])
        return ProcessPool(
            self._workers,
            max_tasks=_TASKS_PER_PROCESS,
            initializer=remote.initialise,
            initargs=(self._memory_bytes,),
            context=context,
        )

    def _feed(self) -> None:
        while self._queue and len(self._running) < self._room:
            self._schedule(self._queue.popleft())

    def _schedule(self, job: dict[str, Any]) -> None:
        deadline = float(job["deadline"])
        pairs = [tuple(pair) for pair in job["pairs"]]
        if not self._pool.active:
            self._replace_pool()
        future = self._pool.schedule(remote.judge, args=[pairs, math.ceil(deadline) + _CPU_SLACK_S], timeout=deadline)
        self._running[job["id"]] = (job, future)
        future.add_done_callback(lambda done: self._finished(job, done))

    def _replace_pool(self) -> None:
        # Jobs of the broken pool are queued again; its late results are ignored.
        broken, self._pool = self._pool, self._new_pool()
        self._queue.extend(job for job, future in self._running.values() if not future.done())
        self._running.clear()
        broken.stop()
        threading.Thread(target=broken.join, daemon=True).start()

    def _cancel(self, numbers: set[int]) -> None:
        self._queue = deque(job for job in self._queue if job["id"] not in numbers)
        for number in numbers:
            if number in self._running:
                self._running[number][1].cancel()

    def _finished(self, job: dict[str, Any], future: Any) -> None:
        with self._lock:
            known = self._running.get(job["id"])
            if known is None or known[1] is not future:
                return
            del self._running[job["id"]]
            if not future.cancelled():
                broken = isinstance(future.exception(), BrokenProcessPool)
                tries = job.setdefault("tries", 0)
                if broken and tries < _TRIES:
                    # An idle worker that is killed from outside breaks the whole pool; the jobs are not the cause.
                    job["tries"] = tries + 1
                    self._queue.append(job)
                else:
                    self.send({"id": job["id"], "result": _result(future)})
            self._feed()


def _result(future: Any) -> Result:
    error = future.exception()
    if error is None:
        result: Result = future.result()
        return result
    if isinstance(error, TimeoutError):
        return "timeout", None, "stopped at the deadline"
    if isinstance(error, ProcessExpired):
        if error.exitcode == -signal.SIGXCPU:
            return "timeout", None, "stopped at the limit of CPU time"
        return "error", None, f"the worker ended unexpectedly (exit code {error.exitcode})"
    return "error", None, f"the worker failed ({type(error).__name__})"


def main(read_fd: int, write_fd: int, workers: int, memory_bytes: int) -> None:
    """Serve until the caller closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ[SERVER_MARK] = "1"
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    with open(write_fd, "wb") as out, open(read_fd, "rb") as requests:
        server = Server(workers, memory_bytes, out)
        server.warm_up()
        server.send({"ready": os.getpid()})
        for line in requests:
            server.handle(json.loads(line))
        threading.Timer(3.0, _end_group).start()
        server.close()
        _end_group()


def _watch_parent(parent: int) -> None:
    # A child that the caller forked may keep the other end of the pipe open after the caller has ended.
    while os.getppid() == parent:
        time.sleep(1.0)
    _end_group()


def _end_group() -> None:
    """End every process of this session at once; the resource tracker ignores it and cleans up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpgid(0), signal.SIGTERM)
    os._exit(0)


def run() -> None:
    """Entry point: four numbers on the command line; a failure to start goes through the pipe."""
    read_fd, write_fd, workers, memory_bytes = map(int, sys.argv[1:5])
    main(read_fd, write_fd, workers, memory_bytes)
