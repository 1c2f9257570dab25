"""A Python tool: runs a model's code in a process of its own, cut off from network, files and other processes."""

from __future__ import annotations

import functools
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fdiv_gym as fg

JAIL = Path(__file__).with_name("jail.py")
FLAGS = ("-P", "-s", "-S", "-B", "-u", "-X", "utf8")
"""As ``-I -S``, but the variables below are read; the environment holds no other."""
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_CTYPE": "C.UTF-8"}
"""The order of sets of strings is the same in every run."""
LONGEST_CODE = 100_000
"""Characters of code."""
GRACE_S = 1.0
"""Seconds for the supervisor to end the process before all are killed."""


@dataclass(frozen=True)
class Isolation:
    """What code is cut off from on this system.

    Args:
        network: it has no network, not even the machine's own address.
        files: it sees the standard library of Python, read-only, and no other file.
        processes: it sees no other process, and whatever it starts ends with it.
        memory: it can neither exceed its memory nor start processes.
        problems: what the system did not allow, in its words.
    """

    network: bool
    files: bool
    processes: bool
    memory: bool
    problems: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of what does not hold."""
        return tuple(name for name in ("network", "files", "processes", "memory") if not getattr(self, name))

    @property
    def complete(self) -> bool:
        """Whether network, files and processes are cut off."""
        return self.network and self.files and self.processes

    def __str__(self) -> str:
        """What does not hold, and why."""
        if not self.missing:
            return "cut off from network, files and processes, with limited memory"
        return f"not isolated: {', '.join(self.missing)} ({'; '.join(self.problems) or 'no reason known'})"


@dataclass(frozen=True)
class _Ended:
    """A run: its output and why it ended; ``isolation`` is None if it ended before it could tell."""

    output: str
    stopped: str
    status: int
    isolation: Isolation | None
    refused: bool


@functools.cache
def isolation() -> Isolation:
    """What code is cut off from on this system, found out by running some.

    Raises:
        EnvError: no code can be run on this system.
    """
    return _known(_run("", 30.0, 512, 1000, False))


def python_tool(
    *, deadline_s: float = 5.0, memory_mb: int = 512, max_characters: int = 2000, require_isolation: bool = False
) -> Callable[[str], str]:
    """The function ``run_python`` with other limits.

    Args:
        deadline_s: seconds after which the code is killed, with everything that it started.
        memory_mb: its address space, in MiB; Python itself takes about 30.
        max_characters: of its output; more is cut off, and the code is killed.
        require_isolation: refuse to run any code unless network, files and other processes are cut off.

    Raises:
        ValueError: a limit is not positive.
        EnvError: ``require_isolation`` is set and one of them cannot be cut off on this system.
    """
    if not (0 < deadline_s < math.inf and memory_mb >= 64 and max_characters >= 1):
        raise ValueError("deadline_s and max_characters must be positive, memory_mb at least 64")
    if require_isolation and not isolation().complete:
        raise fg.EnvError(_refusal(isolation()))

    def limited(code: str) -> str:
        if len(code) > LONGEST_CODE:
            return f"[not run: more than {LONGEST_CODE} characters of code]"
        ended = _run(code, deadline_s, memory_mb, max_characters, require_isolation)
        if ended.isolation is not None or not ended.stopped:
            held = _known(ended)
            if ended.refused:
                raise fg.EnvError(_refusal(held))
            _warn_once(held)
        return _told(ended)

    limited.__name__, limited.__doc__ = "run_python", run_python.__doc__
    return limited


def run_python(code: str) -> str:
    """Run Python code; returns what it prints, and the value of a last expression.

    Args:
        code: Python code; the standard library can be imported, network and files cannot be used.
    """
    return _default(code)


_default = python_tool()


def _run(code: str, deadline_s: float, memory_mb: int, max_characters: int, require: bool) -> _Ended:
    if os.name != "posix":
        raise fg.EnvError("the Python tool needs Linux (or another POSIX system)")
    deadline = time.monotonic() + deadline_s
    reading, writing = os.pipe()
    request = {"code": code, "require": require, "seconds": math.ceil(deadline_s), "memory": memory_mb << 20}
    with open(reading, "rb") as told, tempfile.TemporaryFile() as stdin:
        with open(writing, "wb"):
            stdin.write(json.dumps({**request, "status": writing}).encode())
            stdin.seek(0)
            process = subprocess.Popen(
                [sys.executable, *FLAGS, str(JAIL)],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT,
                cwd="/",
                pass_fds=(writing,),
                start_new_session=True,
            )
        try:
            output, stopped = _read(process, deadline, deadline_s, 4 * max_characters)
        finally:
            _end(process)
        report = _available(told.fileno())
    text = output.decode("utf-8", "replace").rstrip("\n")
    if len(text) > max_characters:
        text, stopped = text[:max_characters], stopped or "output"
    stopped = f"cut off after {max_characters} characters" if stopped == "output" else stopped
    held = json.loads(report) if report else None
    known = None if held is None else Isolation(**held["held"], problems=tuple(held["problems"]))
    return _Ended(text, stopped, process.returncode, known, bool(held and held["refused"]))


def _read(process: subprocess.Popen[bytes], deadline: float, deadline_s: float, limit: int) -> tuple[bytes, str]:
    """Its output, at most ``limit`` bytes, until it ends or has to be stopped; and why it has to."""
    assert process.stdout is not None
    found = bytearray()
    late = f"stopped after {deadline_s:g} s"
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return bytes(found), late
            if not selector.select(left):
                continue
            chunk = os.read(process.stdout.fileno(), 65536)
            found += chunk
            if len(found) > limit:
                return bytes(found[:limit]), "output"
            if not chunk:
                break
    try:  # its output is closed, so it has ended, or it runs on in silence
        process.wait(max(deadline - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        return bytes(found), late
    return bytes(found), ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and all of its group, and reap it."""
    assert process.stdout is not None
    process.stdout.close()
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)  # a supervisor ends the namespace, and reaps it
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _available(descriptor: int) -> bytes:
    """What a pipe holds, without waiting for more."""
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""


def _known(ended: _Ended) -> Isolation:
    if ended.isolation is None:
        raise fg.EnvError(f"the Python tool could not start: {ended.output[-500:] or f'exit status {ended.status}'}")
    return ended.isolation


def _refusal(held: Isolation) -> str:
    return (
        f"the Python tool runs no code with require_isolation: {held}; "
        "use a system with user namespaces, or leave the option out where the code is trusted"
    )


_warned = False


def _warn_once(held: Isolation) -> None:
    global _warned
    if held.missing and not _warned:
        _warned = True
        warnings.warn(f"the Python tool runs code that is {held}", RuntimeWarning, stacklevel=3)


def _told(ended: _Ended) -> str:
    """What the model is told."""
    note = ended.stopped
    code = ended.status
    if not note and code:
        number = -code if code < 0 else code - 128
        names = {item.value: item.name for item in signal.Signals}
        note = f"ended by {names[number]}" if number in names else f"exit status {code}"
    if not note and not ended.output:
        note = "no output"
    return "\n".join(part for part in (ended.output, note and f"[{note}]") if part)
