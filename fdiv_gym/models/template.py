"""Rendering of a tokenizer's chat template, which is a program of the model's author, within limits."""

from __future__ import annotations

import ctypes
import inspect
import os
import re
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fdiv_gym.errors import ConfigError
from fdiv_gym.registry.messages import cause_of
from fdiv_gym.registry.watchdog import watchdog

LONGEST_TEMPLATE = 200_000
"""Characters of a template."""
LONGEST_ADDITION = 1_000_000
"""Characters that a template may add to the texts of a chat."""
RENDER_S = 5.0
"""Seconds one rendering may take."""
KILL_S = 30.0
"""Seconds after which a rendering that cannot be interrupted, such as the power of a huge number, ends the run."""
PROBE_BYTES = 2**30
"""Memory that the rendering of a short chat may take."""

_ADVICE = "; set model.chat_template to the file of another, or model.chat = 'never'"
_SHORT = (
    [{"role": "user", "content": "hello"}],
    [{"role": "user", "content": ""}, {"role": "assistant", "content": "x"}, {"role": "user", "content": "hello"}],
)


def check_template(tokenizer: Any) -> None:
    """Refuse a chat template that is too long or no template, takes too much for a short chat, or does not show it.

    The short chats are rendered in a forked process, which is killed at the deadline.

    Raises:
        ConfigError: the template is refused.
    """
    longest = max(map(len, _texts(tokenizer)), default=0)
    if longest > LONGEST_TEMPLATE:
        raise _refused(f"has {longest} characters, more than {LONGEST_TEMPLATE}")
    if not hasattr(os, "fork"):
        return
    problem = _forked(lambda: _probe(tokenizer))
    if problem:
        raise _refused(problem)


def shows_tools(tokenizer: Any) -> bool:
    """Whether a template has a place for the schemas of tools."""
    return names_variable(tokenizer, "tools")


def names_variable(tokenizer: Any, name: str) -> bool:
    """Whether a template has this name somewhere."""
    return any(re.search(rf"\b{re.escape(name)}\b", text) for text in _texts(tokenizer))


def _texts(tokenizer: Any) -> list[str]:
    """A tokenizer's templates; it may have several, each with a name."""
    template = tokenizer.chat_template
    return [str(text) for text in (template.values() if isinstance(template, dict) else [template])]


def declares_calls(tokenizer: Any) -> bool:
    """Whether a tokenizer declares a format of tool calls that the installed transformers reads.

    It is ``response_template`` since transformers 5.13, and ``response_schema`` before.
    """
    return bool(getattr(tokenizer, "response_template" if _reads_templates(tokenizer) else "response_schema", None))


def _reads_templates(tokenizer: Any) -> bool:
    return "prefix" in inspect.signature(tokenizer.parse_response).parameters


def declared_calls(tokenizer: Any, response: str) -> list[dict[str, Any]]:
    """The tool calls of a response in the format that the tokenizer declares; see ``declares_calls``.

    Raises:
        ValueError: the response does not follow the format.
    """
    options = {"prefix": ""} if _reads_templates(tokenizer) else {}
    with watchdog.watch("the tokenizer's format of responses", f"{len(response)} characters of a response", KILL_S):
        try:
            parsed = tokenizer.parse_response(response, **options)
            calls = [call.get("function", call) for call in parsed.get("tool_calls") or []]
            return [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
        except Exception as error:  # of regular expressions, JSON, or a schema that describes something else
            raise ValueError(cause_of(error)) from None


def render(
    tokenizer: Any,
    messages: Sequence[dict[str, str]],
    *,
    add_generation_prompt: bool = False,
    options: Mapping[str, Any] | None = None,
) -> str:
    """The text of a chat by the tokenizer's template; ``options`` are further variables of it.

    Raises:
        ConfigError: the template takes too long, fails, or renders a much longer text than the chat.
    """
    with watchdog.watch("the tokenizer's chat template", f"rendering a chat of {len(messages)} messages", KILL_S):
        return _render(tokenizer, messages, add_generation_prompt=add_generation_prompt, options=options)


def _render(
    tokenizer: Any,
    messages: Sequence[dict[str, str]],
    *,
    add_generation_prompt: bool = False,
    options: Mapping[str, Any] | None = None,
) -> str:
    try:
        with _Deadline(RENDER_S):
            text: str = tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=add_generation_prompt, **(options or {})
            )
    except _LateError:
        raise _refused(f"takes more than {RENDER_S:g} s for a chat of {len(messages)} messages") from None
    except Exception as error:  # jinja2's errors, and any that the template's expressions raise
        raise _refused(f"fails for a chat of {len(messages)} messages: {cause_of(error)}") from None
    given = sum(len(message["content"]) for message in messages) + len(str(options or ""))
    if len(text) > LONGEST_ADDITION + 10 * given:
        raise _refused(f"makes {len(text)} characters of a chat of {len(messages)} messages")
    return text


def _refused(problem: str) -> ConfigError:
    return ConfigError(f"the tokenizer's chat template {problem}{_ADVICE}")


def _probe(tokenizer: Any) -> str:
    for chat in _SHORT:
        try:
            # The process of the probe is killed by its parent.
            text = _render(tokenizer, chat, add_generation_prompt=True)
        except ConfigError as error:
            problem = str(error).removeprefix("the tokenizer's chat template ").removesuffix(_ADVICE)
            # Many templates raise on purpose, e.g. for a second user message; that is judged when it happens.
            if not problem.startswith("fails") or "MemoryError" in problem or "TemplateSyntaxError" in problem:
                return problem
        else:
            if chat[0]["content"] not in text:
                return f"does not show the user's message {chat[0]['content']!r}: it is for messages of another form"
    return ""


def _forked(work: Callable[[], str]) -> str:
    """What ``work`` returns in a forked process with limits; the limit that it exceeded otherwise."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child runs no code of other threads
        child = os.fork()
    if child == 0:
        try:
            _limit_memory()
            os.write(write, (work() or "ok").encode("utf-8", "replace")[:2000])
        except BaseException as error:
            os.write(write, cause_of(error).encode("utf-8", "replace")[:2000])
        finally:
            os._exit(0)
    os.close(write)
    deadline = time.monotonic() + len(_SHORT) * RENDER_S + 1
    try:
        ready, _, _ = select.select([read], [], [], max(0.0, deadline - time.monotonic()))
        answer = os.read(read, 2000).decode() if ready else f"takes more than {RENDER_S:g} s for a short chat"
    finally:
        os.close(read)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return "" if answer == "ok" else answer or "ends its process: it takes too much memory for a short chat"


def _limit_memory() -> None:
    if sys.platform != "linux":
        return
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + PROBE_BYTES, used + PROBE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _LateError(BaseException):
    """Raised in a rendering that has reached its deadline; a BaseException, so that no template code catches it."""


class _Deadline:
    """Raises ``_LateError`` in the thread that entered, at the deadline; it interrupts Python code only."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._over = False
        self._fired = False

    def __enter__(self) -> None:
        self._thread = ctypes.c_ulong(threading.get_ident())
        self._timer = threading.Timer(self._seconds, self._fire)
        self._timer.daemon = True
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
        self._timer.cancel()
        if self._fired:
            # It may be set and not raised yet: cleared, and raised here.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, None)
            raise _LateError

    def _fire(self) -> None:
        with self._lock:
            if not self._over:
                self._fired = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, ctypes.py_object(_LateError))
