"""Child: the parent's end of one worker process."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import signal
import subprocess
import threading
from typing import Any

from fdiv_gym import errors
from fdiv_gym.errors import FdivGymError, PluginError
from fdiv_gym.registry.process import start_python
from fdiv_gym.rollouts.isolation.blueprint import Blueprint
from fdiv_gym.rollouts.isolation.frames import read_frame, write_frame
from fdiv_gym.rollouts.isolation.worker import LARGEST_VERDICT, unsendable

START_S = 300.0
"""Seconds in which a plugin must be built; it may load a model."""
_BOOT = "from fdiv_gym.rollouts.isolation.worker import main; main()"
NO_ANSWER = "sent what is no answer"
_SMALLEST_REPLY = 2**20


class LateError(Exception):
    """The worker did not answer within the deadline; it was killed."""


class LostError(Exception):
    """The worker ended, or sent what is no answer; the text says how."""


class Child:
    """One worker process with its plugin.

    Args:
        blueprint: the plugin.
        label: the plugin in messages.

    Raises:
        PluginError: the process did not start, or the plugin cannot be built there.
    """

    def __init__(self, blueprint: Blueprint, label: str) -> None:
        self.owner = os.getpid()
        self._label = label
        self._ended = False
        self._numbers = itertools.count()
        requests, own_requests = os.pipe()
        own_replies, replies = os.pipe()
        try:
            self.process = start_python(_BOOT, (requests, replies, os.getpid()), (requests, replies), output=2)
        except OSError as error:
            os.close(own_requests)
            os.close(own_replies)
            raise PluginError(f"{label}: its scoring process did not start: {error}") from None
        finally:
            os.close(requests)
            os.close(replies)
        # Unbuffered: closing a forked copy must not send data again.
        self._requests = open(own_requests, "wb", buffering=0)  # noqa: SIM115 - closed by end()
        self._replies = open(own_replies, "rb")  # noqa: SIM115 - closed by end()
        try:
            self.counters: dict[str, float] = self._ask((blueprint,), START_S, _SMALLEST_REPLY)["counters"]
        except LateError:
            raise PluginError(f"{label}: its scoring process was not ready in {START_S:.0f} s") from None
        except LostError as error:
            raise PluginError(f"{label}: its scoring process {error} before the plugin was built") from None
        except FdivGymError as error:
            self.end()
            raise type(error)(f"{label} cannot be built in its scoring process: {error}") from None

    @property
    def usable(self) -> bool:
        """Whether it runs and belongs to this process, not to the one that this process was forked from."""
        return self.owner == os.getpid() and not self._ended and self.process.poll() is None

    def score(self, against: list[Any], responses: list[str], deadline_s: float) -> dict[str, Any]:
        """The answer to one batch: ``verdicts`` and ``counters``.

        Raises:
            LateError: there was none within the deadline.
            LostError: the worker ended.
            FdivGymError: the plugin broke its contract; the error that scoring in this process would have raised.
            PluginError: the batch cannot be sent to another process.
        """
        try:
            batch = pickle.dumps((against, responses))
        except Exception as error:
            raise PluginError(f"{self._label}: {unsendable(error)}") from None
        longest = _SMALLEST_REPLY + len(responses) * (LARGEST_VERDICT + 2)
        answer = self._ask((deadline_s, batch), deadline_s, longest)
        if len(answer.get("verdicts", ())) != len(responses):
            self.end()
            raise LostError(NO_ANSWER)
        return answer

    def end(self) -> None:
        """Kill the process and every process of its session; may be called more than once."""
        if self._ended:
            return
        self._ended = True
        if self.owner == os.getpid():
            # Also if the worker itself ended: the processes that it started are in its group, which keeps its id.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._requests.close()
        self._replies.close()

    def _ask(self, request: tuple[Any, ...], deadline_s: float, longest: int) -> dict[str, Any]:
        number = next(self._numbers)
        payload = pickle.dumps((number, *request))
        late = threading.Event()

        def kill() -> None:  # then the pipe closes, and the read below returns
            late.set()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

        timer = threading.Timer(deadline_s, kill)
        timer.daemon = True
        timer.start()
        reply = None
        try:
            write_frame(self._requests, payload)
            reply = read_frame(self._replies, longest)
        except OSError:
            pass
        except BaseException:  # Ctrl-C: the worker is in the middle of a batch
            timer.cancel()
            self.end()
            raise
        finally:
            timer.cancel()
        timer.join()  # it may be about to kill
        answer = _parsed(reply, number)
        if answer is None:
            problem = self._ending()
            self.end()
            raise LateError if late.is_set() else LostError(problem)
        if late.is_set():  # the answer was just in time
            self.end()
        if "failed" in answer:
            name, text = answer["failed"]
            raise getattr(errors, str(name), PluginError)(text)
        return answer

    def _ending(self) -> str:
        try:
            status = self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            return NO_ANSWER
        if status < 0:
            return f"was killed by signal {-status}"
        return f"ended with status {status}"


def _parsed(reply: bytes | None, number: int) -> dict[str, Any] | None:
    """The answer to the request of this number; None if it is none, e.g. what a plugin wrote into the pipe."""
    try:
        answer = json.loads(reply or b"")
    except ValueError:
        return None
    own = isinstance(answer, dict) and answer.get("number") == number
    return answer if own and answer.keys() & {"counters", "failed"} else None
