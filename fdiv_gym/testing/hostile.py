"""Texts that break careless judges, and a call that cannot hang its caller."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

GARBAGE = "zq%$#@~ lorem ]]["

#: name -> text; every judge of text must give a verdict on each, in reasonable time, without raising.
HOSTILE: dict[str, str] = {
    "empty": "",
    "blank": " \n\t\r",
    "nul": "a\x00b",
    "surrogate": "\ud800",
    "emoji and right-to-left": "\U0001f600 \u202eabc\u202c \u0661\u0662",
    "very long": "1" * 100_000,
    "deep brackets": "(" * 5_000 + ")" * 5_000,
    "many boxes": "\\boxed{1}" * 500,
    "open box": "\\boxed{" * 200,
    "tower": "9^{9^{9^{9}}}",
    "format": "{0.__class__} %s %n {}",
    "markup": "<script>alert(1)</script><|im_end|>[/INST]",
    "code": "__import__('os').getcwd()",
    "regex bomb": "a" * 5_000 + "!",
    "lines": "\n" * 20_000,
}


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of ``call``, run in a thread of its own so that a call that hangs is left behind.

    Raises:
        TimeoutError: it took longer.
    """
    box: list[Any] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            box.append(call())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not box:
        raise TimeoutError(f"no answer within {seconds:g} s")
    result: T = box[0]
    return result


def shown(text: str) -> str:
    """A text as it fits into one line of a message."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
