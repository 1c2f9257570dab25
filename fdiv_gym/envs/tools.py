"""ToolEnv: conversations in which the model calls typed Python functions."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import pydantic

from fdiv_gym.envs.base import ParseCalls
from fdiv_gym.envs.conversation import ConversationEnv
from fdiv_gym.envs.episode import Episode
from fdiv_gym.envs.tools_calls import Call, Found, MalformedCall, declared_calls, hermes_calls, python_calls
from fdiv_gym.envs.tools_functions import ArgumentsError, Result, nearest, run_tool, signature_of
from fdiv_gym.errors import EnvError
from fdiv_gym.registry.guard import label_of
from fdiv_gym.registry.messages import shorten
from fdiv_gym.types.message import Message
from fdiv_gym.types.task import Task

Tool = Callable[..., Any]
"""A function with a docstring and types; ``async def`` too."""
CallFormat = Literal["hermes", "python", "template"]

_HERMES = """To call one, write
<tool_call>{"name": "NAME", "arguments": {"ARGUMENT": VALUE}}</tool_call>"""
_PYTHON = """To call it, write
```python
TEXT
```"""


class ToolEnv(ConversationEnv):
    """Base of environments with tools.

    A subclass implements ``tasks``, ``score`` and ``functions``, the tools of one episode; tools with a state are
    methods of a ``ToolEpisode``, which ``begin`` returns. A response without a call ends the conversation.

    If the model's chat template shows tools, it gets their JSON schemas
    (``transformers.utils.get_json_schema``); else a message of role ``system`` describes them (``describe``).
    """

    class Options(ConversationEnv.Options):
        """Options of every environment with tools; nest ``class Options(fg.ToolEnv.Options)`` to add more."""

        call_format: Literal["auto", "hermes", "python", "template"] = "auto"
        """How the model writes a call: ``hermes``, JSON in ``<tool_call>``; ``python``, a fenced block whose text is
        the argument of the only tool; ``template``, as its tokenizer declares; ``auto``, ``template`` if it declares a
        format, else ``hermes``."""
        tool_role: Literal["tool", "user"] = "tool"
        """Role of the messages with results; ``user`` for a chat template without the role ``tool``."""
        tools_text: str | None = None
        """What the model is told of the tools, instead of the schemas or the description; empty: nothing."""
        call_timeout_s: float = pydantic.Field(10.0, gt=0)
        """Seconds that one call may take."""
        max_calls: int = pydantic.Field(16, ge=1)
        """Calls in an episode, malformed ones included; further ones are refused."""
        max_output_characters: int = pydantic.Field(4000, ge=1)
        """Characters of one result; the rest is cut off, with a note."""
        reply_deadline_s: float = pydantic.Field(600.0, gt=0)
        """Seconds that all calls of one response may take together; then the episode ends with a verdict of status
        ``timeout``."""

    options: Options
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "episode/calls": "Well-formed tool calls in an episode.",
        "episode/malformed": "Malformed tool calls in an episode, which the model was told of.",
        "episode/failed": "Tool calls in an episode whose function raised.",
        "episode/timeouts": "Tool calls in an episode that took too long.",
        "episode/refused": "Tool calls in an episode beyond max_calls, which were not made.",
    }

    # ---- implemented by a subclass ----------------------------------------------------------------

    def functions(self, task: Task) -> Sequence[Tool]:
        """The tools of an episode about a task; their names and types must be the same for every task."""
        raise NotImplementedError("define functions(task) of the environment, or functions() of its ToolEpisode")

    def begin(self, task: Task) -> Episode:
        """A new conversation about a task; override it to return a ``ToolEpisode`` with a state."""
        return ToolEpisode(self, task)

    def describe(self, functions: Sequence[Tool]) -> str:
        """What the model is told of the tools where its chat template does not show them; empty for nothing."""
        lines = ["Tools:"]
        for signature in map(signature_of, functions):
            lines += [f"{signature.name}{signature.signature}", textwrap.indent(signature.text, "    ")]
        lines += [_PYTHON if self.format == "python" else _HERMES]
        return "\n".join([*lines, "The result is told to you. A response without a call is the final answer."])

    # ---- called by episodes and by the runner -----------------------------------------------------

    @property
    def format(self) -> CallFormat:
        """The format of calls of the present model.

        Raises:
            EnvError: the option names the model's own, and its tokenizer declares none.
        """
        chosen = self.options.call_format
        if chosen == "auto":
            return "hermes" if self.parse_calls is None else "template"
        if chosen == "template" and self.parse_calls is None:
            raise EnvError(
                f"{label_of(self)}: call_format = 'template', but the model's tokenizer declares no format of tool "
                "calls (response_template): set call_format = 'hermes' or 'python'"
            )
        return chosen

    def use_template(self, shows_tools: bool, parse_calls: ParseCalls | None) -> None:
        """Keep what the model's chat template can do, for the episodes.

        Raises:
            EnvError: the option ``call_format`` asks for what it cannot do.
        """
        super().use_template(shows_tools, parse_calls)
        _ = self.format

    def read_calls(self, response: str) -> Found:
        """The calls in a response, in order, malformed ones included; none if it is the final answer."""
        if self.format == "template":
            assert self.parse_calls is not None
            return declared_calls(self.parse_calls, response)
        return python_calls(response) if self.format == "python" else hermes_calls(response)


class ToolEpisode(Episode):
    """One conversation with tools.

    A subclass may keep a state and return its own methods as ``functions``::

        class Basket(fg.ToolEpisode):
            total = 0

            def functions(self):
                return [self.add]

            def add(self, price: int) -> int: ...

    Args:
        env: the environment.
        task: what it is about.
    """

    def __init__(self, env: ToolEnv, task: Task) -> None:
        self.env, self.task = env, task
        self._tools: dict[str, Tool] = {}
        self._counts = {"calls": 0, "malformed": 0, "timeouts": 0, "failed": 0, "refused": 0}

    def functions(self) -> Sequence[Tool]:
        """The tools; by default those of the environment."""
        return self.env.functions(self.task)

    def opening(self) -> Sequence[Message] | None:
        """The task's prompt, behind what is told of the tools.

        Raises:
            EnvError: there are no tools, one cannot be used, or a subclass does not call ``super().__init__``.
        """
        if not hasattr(self, "_tools"):
            raise EnvError(
                f"{type(self).__name__}.__init__ does not call super().__init__(env, task): without it the episode has "
                "no environment, task and counts"
            )
        functions = _several(self.env, self.functions())
        self._tools = _by_name(self.env, functions)
        env, text = self.env, self.env.options.tools_text
        env.tools = ()
        if text is None and env.shows_tools and env.format != "python":
            env.tools = [signature_of(function).schema(function) for function in functions]
            return None
        text = env.describe(functions) if text is None else text
        return _behind(text, self.task.messages, env.options.system_prompt) if text else None

    async def reply(self, response: str) -> Sequence[Message] | None:
        """The results of the calls in a response; None for the final answer."""
        calls = self.env.read_calls(response)
        if not calls:
            return None
        left = max(0, self.env.options.max_calls - self._counts["calls"] - self._counts["malformed"])
        texts = [await self._answer(call) for call in calls[:left]]
        if len(calls) > left:
            self._counts["refused"] += len(calls) - left
            texts.append("error: no calls are left; give the final answer")
        return [Message(self.env.options.tool_role, text) for text in texts]

    def outcome(self) -> Mapping[str, Any]:
        """Counts of this episode.

        ``calls``: well-formed ones; of these ``failed`` raised and ``timeouts`` took too long. ``malformed``: told to
        the model and not made. ``refused``: beyond ``max_calls``.
        """
        return dict(self._counts)

    async def _answer(self, call: Call | MalformedCall) -> str:
        try:
            tool, arguments = self._checked(call)
        except ArgumentsError as error:
            self._counts["malformed"] += 1
            return f"error: {error}"
        options = self.env.options
        self._counts["calls"] += 1
        result: Result = await run_tool(
            tool, arguments, options.call_timeout_s, options.max_output_characters, label_of(self.env)
        )
        self._counts["failed"] += result.status == "failed"
        self._counts["timeouts"] += result.status == "timeout"
        return result.text

    def _checked(self, call: Call | MalformedCall) -> tuple[Tool, dict[str, Any]]:
        """The tool and the arguments as it takes them.

        Raises:
            ArgumentsError: there is no such tool, or the arguments do not fit it.
        """
        if isinstance(call, MalformedCall):
            raise ArgumentsError(call.reason)
        if call.name is None:
            tool = next(iter(self._tools.values()))
            return tool, signature_of(tool).check({signature_of(tool).text_parameter or "": call.arguments[""]})
        if call.name not in self._tools:
            raise ArgumentsError(f"there is no tool {call.name[:80]!r}{nearest(call.name, list(self._tools))}")
        tool = self._tools[call.name]
        return tool, signature_of(tool).check(call.arguments)


def _several(env: ToolEnv, functions: object) -> list[Tool]:
    if not isinstance(functions, Iterable):
        raise EnvError(f"{label_of(env)}: functions must return a list of functions, got {shorten(functions)}")
    return list(functions)


def _by_name(env: ToolEnv, functions: Sequence[Tool]) -> dict[str, Tool]:
    """The tools by their names.

    Raises:
        EnvError: there is none, two share a name, or the format ``python`` has no tool of one text.
    """
    names = [signature_of(function).name for function in functions]
    tools = dict(zip(names, functions, strict=True))
    if not tools or len(tools) < len(functions):
        raise EnvError(f"{label_of(env)}: functions must return one or more tools of different names, got {names}")
    if env.format == "python" and (len(tools) > 1 or signature_of(functions[0]).text_parameter is None):
        raise EnvError(
            f"{label_of(env)}: call_format = 'python' needs one tool with one argument of type str, got "
            + ", ".join(f"{name}{signature_of(tool).signature}" for name, tool in tools.items())
        )
    return tools


def _behind(text: str, messages: Sequence[Message], system_prompt: str | None) -> list[Message]:
    """The messages behind a message of role ``system``, which is merged with the one there is."""
    first, rest = messages[0], list(messages)
    if first.role == "system":
        system_prompt, rest = first.content, rest[1:]
    return [Message("system", text if not system_prompt else f"{system_prompt}\n\n{text}"), *rest]
