"""Tool: a typed Python function that a model may call, with a check of the arguments."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import inspect
import json
import typing
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pydantic

from fdiv_gym.envs.tools_threads import InterruptedCallError, in_thread
from fdiv_gym.errors import EnvError, MissingExtraError
from fdiv_gym.registry.messages import cause_of, shorten

Status = Literal["done", "failed", "timeout"]


class ArgumentsError(ValueError):
    """The arguments of a call do not fit the function; the message is for the model."""


@dataclass(frozen=True)
class Result:
    """What a call gave.

    Args:
        text: for the model.
        status: ``done``, ``failed`` if the function raised, or ``timeout``.
    """

    text: str
    status: Status


class Signature:
    """What is the same for all bound methods of one function.

    Raises:
        EnvError: the function has no docstring, or yields; or a parameter has no type, or is positional-only or
            variadic.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        # The function is not kept: a bound method or a closure would keep its episode alive.
        self.name: str = function.__name__
        self._schema: dict[str, Any] | None = None
        try:
            self.signature = inspect.signature(function, eval_str=True)
            hints = typing.get_type_hints(function, include_extras=True)
        except (NameError, TypeError, ValueError, AttributeError, SyntaxError) as error:
            raise EnvError(f"tool {self.name!r}: its types cannot be read: {cause_of(error)}") from None
        self.text = inspect.getdoc(function) or ""
        if not self.text:
            raise EnvError(f"tool {self.name!r} has no docstring, which says what it does")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise EnvError(f"tool {self.name!r} yields, so it has no result: return a value instead")
        self._types = {name: self._type(parameter, hints) for name, parameter in self.signature.parameters.items()}

    def _type(self, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> pydantic.TypeAdapter[Any]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise EnvError(f"tool {self.name!r}: parameter {parameter.name!r} cannot be given by its name")
        if parameter.name not in hints:
            raise EnvError(f"tool {self.name!r}: parameter {parameter.name!r} has no type")
        try:
            return pydantic.TypeAdapter(hints[parameter.name])
        except pydantic.errors.PydanticUserError as error:
            raise EnvError(f"tool {self.name!r}: parameter {parameter.name!r}: {cause_of(error)}") from None

    @property
    def text_parameter(self) -> str | None:
        """The only parameter without default, if it is a text."""
        needed = [p for p in self.signature.parameters.values() if p.default is p.empty]
        return needed[0].name if len(needed) == 1 and needed[0].annotation is str else None

    def schema(self, function: Callable[..., Any]) -> dict[str, Any]:
        """The JSON schema, by ``transformers.utils.get_json_schema``.

        Args:
            function: the function or method of this signature.

        Raises:
            EnvError: the docstring does not describe each argument, or a type has no schema.
            MissingExtraError: transformers is not installed.
        """
        try:
            from transformers.utils import get_json_schema
        except ImportError:
            raise MissingExtraError("schemas of tools need transformers: pip install 'fdiv-gym[train]'") from None
        if self._schema is None:
            try:
                self._schema = get_json_schema(function)
            except Exception as error:  # of its parser of docstrings and types
                raise EnvError(f"tool {self.name!r} has no schema: {cause_of(error)}") from None
        return self._schema

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the function takes them.

        Raises:
            ArgumentsError: one is missing, unknown, or of another type.
        """
        parameters = self.signature.parameters
        for name in arguments:
            if name not in parameters:
                raise ArgumentsError(f"{self.name} has no argument {shorten(name)}{nearest(name, list(parameters))}")
        for name, parameter in parameters.items():
            if name not in arguments and parameter.default is parameter.empty:
                raise ArgumentsError(f"{self.name}: argument {name!r} is missing")
        return {name: self._checked(name, value) for name, value in arguments.items()}

    def _checked(self, name: str, value: Any) -> Any:
        try:
            return self._types[name].validate_json(json.dumps(value, allow_nan=False), strict=True)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = "".join(f"[{part!r}]" for part in first["loc"])
            raise ArgumentsError(f"{self.name}: argument {name!r}{place}: {first['msg']}") from None
        except (ValueError, TypeError, RecursionError):
            raise ArgumentsError(f"{self.name}: argument {name!r} is no JSON value") from None


_known: weakref.WeakKeyDictionary[Callable[..., Any], Signature] = weakref.WeakKeyDictionary()


def signature_of(function: Callable[..., Any]) -> Signature:
    """The signature of a function or bound method, built once for each function.

    Raises:
        EnvError: it is no such function, or cannot be a tool.
    """
    if not inspect.isroutine(function) or not hasattr(function, "__name__"):
        raise EnvError(f"a tool must be a function or a method, got {shorten(function)}")
    key = _underlying(function)
    if key not in _known:
        _known[key] = Signature(function)
    return _known[key]


def _underlying(function: Callable[..., Any]) -> Any:
    return getattr(function, "__func__", function)


async def run_tool(
    function: Callable[..., Any], arguments: Mapping[str, Any], seconds: float, characters: int, label: str
) -> Result:
    """Call a function within limits; nothing that it does raises.

    Args:
        function: ``async def`` functions run in the event loop, others in threads; see ``in_thread``. What one of these
            returns to be awaited, e.g. a decorated ``async def``, is awaited in the loop.
        arguments: by name, checked.
        seconds: the deadline.
        characters: length of the text, at most; a longer one is cut, with a note.
        label: whose code it is, for the watchdog.
    """
    name = function.__name__
    try:
        if inspect.iscoroutinefunction(function):
            return await _in_loop(function(**arguments), seconds, characters)
        found = await in_thread(lambda: _called(function, arguments, characters), seconds, label)
        return found if isinstance(found, Result) else await _in_loop(found, seconds, characters)
    except TimeoutError:
        return Result(f"error: {name} took more than {seconds:g} s", "timeout")


def _called(function: Callable[..., Any], arguments: Mapping[str, Any], characters: int) -> Result | Awaitable[object]:
    try:
        value = function(**arguments)
        return value if inspect.isawaitable(value) else Result(shown(value, characters), "done")
    except InterruptedCallError:
        raise
    except BaseException as error:  # SystemExit ends a thread of the model's tool only
        return _failed(error, characters)


async def _in_loop(value: Awaitable[object], seconds: float, characters: int) -> Result:
    task = asyncio.ensure_future(_awaited(value, characters))
    try:
        # Not asyncio.timeout, which waits for a function that refuses to be cancelled.
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()  # does nothing to one that has ended
    if not task.done():
        raise TimeoutError
    return Result("error: CancelledError", "failed") if task.cancelled() else task.result()


async def _awaited(value: Awaitable[object], characters: int) -> Result:
    try:
        return Result(shown(await value, characters), "done")
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:  # SystemExit would end the event loop
        return _failed(error, characters)


def _failed(error: BaseException, characters: int) -> Result:
    return Result(cut(f"error: {cause_of(error)}", characters), "failed")


def shown(value: object, characters: int) -> str:
    """A result as a text: texts as they are, JSON values as JSON, others by ``str``."""
    if isinstance(value, str):
        return cut(value, characters)
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        return cut(json.dumps(value, ensure_ascii=False), characters)
    return cut(str(value), characters)


def cut(text: str, characters: int) -> str:
    """The begin of a text, with a note of how much is left out."""
    if len(text) <= characters:
        return text
    return f"{text[:characters]}\n[{len(text) - characters} more characters]"


def nearest(name: str, names: Sequence[str]) -> str:
    """The end of a message about an unknown name: the one that was probably meant, or all."""
    close = difflib.get_close_matches(name[:80], names, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(names)}" if names else ""
