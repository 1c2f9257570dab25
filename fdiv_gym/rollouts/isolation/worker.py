"""Worker: the process in which an isolated plugin scores. It reads batches from one pipe and answers on another.

Standard output of the plugin goes to the error stream, so a plugin that prints cannot damage an answer. A task arrives
as a copy, an answer leaves as JSON. The process ends when its parent ends, also in the middle of a batch.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import json
import os
import pickle
import random
import signal
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

from fdiv_gym.errors import FdivGymError, PluginError
from fdiv_gym.registry.guard import batch_or_alone, counters_of, label_of, verdicts_of, verified_by
from fdiv_gym.registry.messages import cause_of
from fdiv_gym.rollouts.isolation.frames import read_frame, write_frame
from fdiv_gym.types.message import plain_prompt
from fdiv_gym.types.verdict import Verdict

LARGEST_REQUEST = 2**40
LARGEST_VERDICT = 2**20
"""Bytes of one verdict as JSON."""
SLACK_S = 10.0
"""Seconds after the deadline at which the process ends by itself, should its parent not have ended it."""


def main() -> None:
    """Serve on the descriptors that the command line names, for the parent that it names."""
    requests, replies, parent = (int(text) for text in sys.argv[1:4])
    end_with_parent(parent)
    for fd in (requests, replies):
        os.set_inheritable(fd, False)
    with open(requests, "rb") as incoming, open(replies, "wb", buffering=0) as outgoing:
        serve(incoming, outgoing)


def serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Build the plugin that the first message describes, then score one batch for each message."""
    with contextlib.ExitStack() as stack:
        try:
            number, blueprint = pickle.loads(read_frame(incoming, LARGEST_REQUEST) or b"")
            plugin = stack.enter_context(blueprint.built())
            ready = {"number": number, "counters": _counters(plugin)}
        except BaseException as error:
            write_frame(outgoing, _failure(0, error))
            return
        write_frame(outgoing, json.dumps(ready).encode())
        while request := read_frame(incoming, LARGEST_REQUEST):
            write_frame(outgoing, _answer(plugin, request))


def end_with_parent(parent: int) -> None:
    """End this process when ``parent`` ends; on other systems than Linux, at the deadline of the running batch."""
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the signal was set
        os._exit(1)


def _answer(plugin: Any, request: bytes) -> bytes:
    number, deadline_s, batch = pickle.loads(request)
    try:
        against, responses = pickle.loads(batch)
    except Exception as error:  # e.g. an instance of a class of the run's own __main__
        return _failure(number, PluginError(f"{label_of(plugin)}: {unsendable(error)}"))
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(deadline_s + SLACK_S, exit=True, file=nowhere)
        try:
            _seed(against, responses)
            verdicts = _judged(plugin, against, responses)
            rest = json.dumps(_counters(plugin))
        except FdivGymError as error:
            return _failure(number, error)
        finally:
            faulthandler.cancel_dump_traceback_later()
    every = ", ".join(map(_encoded, verdicts))
    return f'{{"number": {number}, "verdicts": [{every}], "counters": {rest}}}'.encode()


def unsendable(error: Exception) -> str:
    """What to say about a task that pickle refuses, in either process."""
    return (
        f"a task cannot be sent to the scoring process ({cause_of(error)}): its data must be plain JSON values; or set "
        "env.isolate = false"
    )


def _judged(plugin: Any, against: Sequence[Any], responses: Sequence[str]) -> list[Verdict]:
    if plugin.kind == "environment":
        return verdicts_of(plugin, against, responses)
    return batch_or_alone(lambda some, texts: verified_by(plugin, some, texts), against, responses)


def _counters(plugin: Any) -> dict[str, float]:
    return counters_of(plugin) if plugin.kind == "environment" else {}


def _encoded(verdict: Verdict) -> str:
    try:
        text = json.dumps(verdict.to_dict(), default=float)  # components may be numpy's numbers
    except Exception as error:
        return json.dumps(Verdict.error(f"the verdict has no JSON form: {cause_of(error)}").to_dict())
    if len(text) > LARGEST_VERDICT:
        problem = f"the verdict has {len(text)} characters as JSON, more than {LARGEST_VERDICT}"
        return json.dumps(Verdict.error(problem).to_dict())
    return text


def _failure(number: int, error: BaseException) -> bytes:
    known = isinstance(error, FdivGymError)
    name, text = (type(error).__name__, str(error)) if known else (PluginError.__name__, cause_of(error))
    return json.dumps({"number": number, "failed": [name, text]}).encode()


def _seed(against: Sequence[Any], responses: Sequence[str]) -> None:
    """Seed the global generators by the batch: a scorer that draws gives equal verdicts after a restart."""
    texts = [plain_prompt(getattr(one, "prompt", one)) for one in against]
    digest = hashlib.sha256(json.dumps([texts, list(map(str, responses))]).encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed)
