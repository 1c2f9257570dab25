"""Tool calls in the response of a model, read strictly; a malformed one comes with what is wrong about it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OPENED, CLOSED = "<tool_call>", "</tool_call>"
FENCE = "```"
LONGEST_CALL = 100_000
"""Characters of a call."""


@dataclass(frozen=True)
class Call:
    """A call of a tool.

    Args:
        name: of the tool; None for the only one.
        arguments: by name; of a fenced block, its text under the name ``""``.
    """

    name: str | None
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class MalformedCall:
    """Something that looks like a call and is none.

    Args:
        reason: what is wrong, for the model.
    """

    reason: str


Found = list[Call | MalformedCall]


def hermes_calls(response: str) -> Found:
    """Blocks ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``, in order; thinking is not searched.

    Nothing may stand in a block but one JSON object with these two names, each once, with finite numbers.
    """
    before, *parts = _spoken(response).split(OPENED)
    found: Found = _stray(before)
    for part in parts:
        inside, closed, after = part.partition(CLOSED)
        if not closed:
            found.append(MalformedCall(f"{OPENED} is not closed by {CLOSED}"))
            continue
        found.append(_read(inside))
        found += _stray(after)
    return found


def python_calls(response: str) -> Found:
    """Fenced blocks of Python, in order: a line with three backticks and ``python``, the code, three backticks.

    Thinking is not searched, and fenced blocks of other languages are no calls.
    """
    found: Found = []
    language: str | None = None
    code: list[str] = []
    for line in _spoken(response).split("\n"):
        mark = line.strip()
        if language is None:
            if mark.startswith(FENCE):
                language, code = mark.removeprefix(FENCE).strip(), []
        elif mark == FENCE:
            if _is_python(language):
                found.append(_code(language, code))
            language = None
        else:
            code.append(line)
    if language is not None and _is_python(language):
        found.append(MalformedCall(f"{FENCE}python is not closed by a line with {FENCE}"))
    return found


def declared_calls(parse: Callable[[str], Sequence[Mapping[str, Any]]], response: str) -> Found:
    """The calls in the format that the model's tokenizer declares.

    Args:
        parse: reads them; raises a ValueError if the response does not follow the format.
        response: the response.
    """
    try:
        calls = list(parse(response))
    except ValueError as error:
        return [MalformedCall(f"the response does not follow the format of tool calls: {error}")]
    return [_checked(call) for call in calls]


def _spoken(response: str) -> str:
    """The response behind the model's thinking; nothing of a thinking that has not ended."""
    return response.rpartition("</think>")[2].partition("<think>")[0]


def _stray(text: str) -> Found:
    return [MalformedCall(f"{CLOSED} without {OPENED}")] if CLOSED in text else []


def _is_python(language: str) -> bool:
    return language.split(None, 1)[:1] in (["python"], ["py"])


def _code(language: str, lines: Sequence[str]) -> Call | MalformedCall:
    code = "\n".join(lines)
    if len(language.split()) > 1:
        return MalformedCall(f"nothing may follow {FENCE}python in its line")
    if any(line.strip().startswith(FENCE) for line in lines):
        return MalformedCall(f"{FENCE}python is not closed by a line with {FENCE}")
    if not code.strip():
        return MalformedCall("the block of Python is empty")
    return _too_long(code) or Call(None, {"": code})


def _read(text: str) -> Call | MalformedCall:
    long = _too_long(text)
    if long is not None:
        return long
    try:
        return _checked(_json(text))
    except RecursionError:
        return MalformedCall("the JSON is nested too deeply")
    except ValueError as error:
        return MalformedCall(f"no valid JSON: {error}")


def _too_long(text: str) -> MalformedCall | None:
    if len(text) <= LONGEST_CALL:
        return None
    return MalformedCall(f"a call may have at most {LONGEST_CALL} characters, this one has {len(text)}")


def _checked(call: Any) -> Call | MalformedCall:
    if not isinstance(call, Mapping) or set(call) != {"name", "arguments"}:
        return MalformedCall('a call must be an object with "name" and "arguments" and nothing else')
    if not isinstance(call["name"], str):
        return MalformedCall('"name" must be a text')
    if not isinstance(call["arguments"], Mapping) or not all(isinstance(name, str) for name in call["arguments"]):
        return MalformedCall('"arguments" must be an object')
    return Call(call["name"], dict(call["arguments"]))


def _json(text: str) -> Any:
    """JSON as the standard has it: no NaN, no number beyond a float's range, no name twice in an object.

    Raises:
        ValueError: it is no such text.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
