"""The rollout engine ``openai``: responses of a model behind an OpenAI-compatible server, for evaluation."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import fdiv_gym as fg
from fdiv_gym.models import ModelConfig
from fdiv_gym.remote import Choice, Connection, Reply, Server
from fdiv_gym.rewards import run_async
from fdiv_gym.rollouts import TextEngine, derive_seed
from fdiv_gym.types import Message, Sampling, TextCompletion
from fdiv_gym_openai.options import OpenAIOptions

T = TypeVar("T")

LARGEST_REPLY = 2**26
"""Bytes of a reply: many long responses to one prompt are less."""
TOOL_ROLE = (
    "; where messages of the role 'tool' were refused, set env.tool_role = \"user\" in an environment with tools"
)
SEEDS = 2**31
"""Some servers read a seed into 32 bits, with a sign."""
REFUSED = (400, 404, 422)
"""Statuses of a request that the server does not accept as it is."""
CONTEXT = re.compile(r"context.{0,8} (length|size|window)|exceeds?.{0,40} context", re.IGNORECASE)
"""What servers (OpenAI, vLLM, SGLang, llama.cpp) say of a prompt that does not fit into the model's context."""
NO_ROOM = TextCompletion("", "length", no_room=True)
PURE: Mapping[str, Mapping[str, Any]] = {
    "vllm": {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0},
    "llamacpp": {"top_k": 0, "min_p": 0.0},
}
"""What a server that says who it is would otherwise add from its own defaults or the model's generation_config.json."""


class OpenAIEngine(TextEngine):
    """Requests responses from a server; a failure that remains after the retries ends the evaluation with an error.

    All samples of a prompt are asked for in one request. A server that returns fewer, or refuses, is asked for one at a
    time from then on.
    """

    class Options(OpenAIOptions):
        """Options of the engine ``openai``; its server is always named."""

    options: Options

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._server = Server(self.options, LARGEST_REPLY)
        self._model = ""
        self._plain = False
        self._several: bool | None = None  # not known before the first request
        self._defaults: Mapping[str, Any] = {}

    def load(self, model: ModelConfig, env: fg.Environment | None = None) -> None:
        """Ask the server for its models; ``embedded`` stands for the only one.

        With ``model.chat = "never"`` the server continues plain text; otherwise it applies its chat template.

        Raises:
            EngineError: the server does not answer, or serves another model only.
        """
        cards = run_async(self._cards)
        names = [str(card["id"]) for card in cards]
        wanted = model.name_or_path
        if wanted == "embedded" and len(names) != 1:
            raise fg.EngineError(f"{self._place} serves {_listed(names)}: give the name of one of them")
        if wanted != "embedded" and len(names) == 1 and names[0] != wanted:
            # Some servers of a single model answer with it whatever the request names.
            raise fg.EngineError(f"{self._place} serves {_listed(names)} and not {wanted!r}: give that name")
        self._model = names[0] if wanted == "embedded" else wanted
        self._plain = model.chat == "never"
        makers = {str(card.get("owned_by")) for card in cards}
        self._defaults = PURE.get(makers.pop(), {}) if len(makers) == 1 else {}

    def respond(self, chats: Sequence[Sequence[Message]], n: int, sampling: Sampling) -> list[list[TextCompletion]]:
        """``n`` responses to each chat.

        Raises:
            EngineError: an empty chat, or a request that failed for good: nothing takes the place of a response.
        """
        if not self._model:
            raise fg.EngineError("the engine has no model yet: call load(model) first")
        if n < 1:
            raise fg.EngineError(f"n must be at least 1, got {n}")
        for i, chat in enumerate(chats):
            if not any(message.content for message in chat):
                raise fg.EngineError(f"chat {i} is empty: it needs a message with text")
        return run_async(lambda: self._respond(chats, n, sampling))

    @property
    def _place(self) -> str:
        return f"the server {self.options.address}"

    async def _cards(self) -> list[Mapping[str, Any]]:
        async with self._server.connect() as connection:
            found = await connection.models()
        if not isinstance(found, Reply):
            return found
        if found.status in (401, 403):
            raise fg.EngineError(f"{self._place}: {found.failure}{_words(found)}")
        if found.status is not None:  # it answers, and has no list
            return []
        raise fg.EngineError(f"{self._place}: {found.failure}: start it, or correct --base-url")

    async def _respond(
        self, chats: Sequence[Sequence[Message]], n: int, sampling: Sampling
    ) -> list[list[TextCompletion]]:
        async with self._server.connect() as connection:
            # Whether the server can give n responses is learnt from one request, not from all at once.
            alone = 1 if self._several is None and n > 1 else 0
            groups = [await self._group(connection, i, chats[i], n, sampling) for i in range(len(chats[:alone]))]
            rest = range(alone, len(chats))
            return groups + await together(self._group(connection, i, chats[i], n, sampling) for i in rest)

    async def _group(
        self, connection: Connection, i: int, chat: Sequence[Message], n: int, sampling: Sampling
    ) -> list[TextCompletion]:
        """``n`` responses to chat ``i``: in one request if the server can, the rest one by one."""
        done: list[TextCompletion] = []
        if self._several is not False and n > 1:
            reply = await self._ask(connection, chat, n, sampling, derive_seed(sampling.seed, i))
            if _no_room(reply):
                return [NO_ROOM] * n
            if reply.status not in REFUSED:
                done = self._texts(reply, n, chat)
        rest = range(len(done), n)
        replies = await together(
            self._ask(connection, chat, 1, sampling, derive_seed(sampling.seed, i, sample)) for sample in rest
        )
        done += [text for reply in replies for text in self._texts(reply, 1, chat)]
        if n > 1 and self._several is not False:
            self._several = not rest  # if one at a time was refused too, that has raised
        return done

    async def _ask(
        self, connection: Connection, chat: Sequence[Message], n: int, sampling: Sampling, seed: int
    ) -> Reply:
        o = self.options
        body: dict[str, Any] = {
            "model": self._model, "temperature": sampling.temperature, "top_p": sampling.top_p,
            o.length_field: sampling.max_new_tokens,
        }  # fmt: skip
        body |= {"n": n} if n > 1 else {}
        body |= {"seed": seed % SEEDS} if o.send_seed else {}
        extra = {**self._defaults, **({"top_k": sampling.top_k} if sampling.top_k else {}), **o.extra}
        if self._plain:
            # max_completion_tokens is a field of chats only.
            return await connection.complete({**body, "prompt": plain_text(chat)}, extra)
        messages = [{"role": message.role, "content": message.content} for message in chat]
        return await connection.chat({**body, "messages": messages}, extra)

    def _texts(self, reply: Reply, n: int, chat: Sequence[Message]) -> list[TextCompletion]:
        """The responses in a reply to a chat, at least one and at most ``n``.

        Raises:
            EngineError: there is none, or there are more.
        """
        if _no_room(reply):
            return [NO_ROOM]
        if reply.choices is None:
            raise fg.EngineError(f"{self._place}: {reply.failure}{_words(reply)}{self._advice(reply, chat)}")
        if not 1 <= len(reply.choices) <= n:
            raise fg.EngineError(f"{self._place} sent {len(reply.choices)} responses, asked for {n}")
        whole, parts = reply.completion_tokens, len(reply.choices)
        tokens = None if not whole else whole // parts if whole % parts == 0 else whole / parts
        return [self._text(choice, tokens) for choice in reply.choices]

    def _text(self, choice: Choice, tokens: float | None) -> TextCompletion:
        reason = choice.finish_reason
        if reason is None:
            raise fg.EngineError(
                f"{self._place} sent a response without finish_reason: it is not known whether it was cut off"
            )
        if reason == "length":  # without text where a reasoning model did not come to its answer
            return TextCompletion(self._server.redacted(choice.text or ""), "length", tokens)
        if reason != "stop" or choice.text is None:
            what = "without text" if reason == "stop" else f"with finish_reason {self._server.redacted(reason)[:40]!r}"
            return TextCompletion("", "eos", tokens, f"the server ended it {what}")
        return TextCompletion(self._server.redacted(choice.text), "eos", tokens)

    def _advice(self, reply: Reply, chat: Sequence[Message]) -> str:
        if reply.status in (401, 403):
            return ""
        if reply.status in REFUSED:
            options = "engine.send_seed, length_field, extra"
            tools = TOOL_ROLE if any(message.role == "tool" for message in chat) else ""
            return f" (model {self._model!r}; where a field of the request was refused, see {options}{tools})"
        if reply.status is None or reply.status == 429 or reply.status >= 500:
            tries = self.options.retries + 1
            return (
                f" (at most {tries} attempts; engine.timeout_s, retries); complete batches are kept: run the same "
                "command again to resume"
            )
        return ""


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order; the first failure cancels the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def plain_text(chat: Sequence[Message]) -> str:
    """A chat as the text that a model without a template continues, as ``ChatEncoder`` joins it.

    A line feed stands between messages, none beside a response.
    """
    parts = [
        ("" if said else "\n").join(message.content for message in some)
        for said, some in itertools.groupby(chat, lambda message: message.role == "assistant")
    ]
    return "".join(parts)


def _no_room(reply: Reply) -> bool:
    return reply.choices is None and reply.status in REFUSED and CONTEXT.search(reply.said) is not None


def _words(reply: Reply) -> str:
    return f" ({reply.said})" if reply.said else ""


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no list of models"
    return ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
