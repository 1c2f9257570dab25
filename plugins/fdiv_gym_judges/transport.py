"""Requests to an OpenAI-compatible server: bounded in time, retried with back-off, without keys in messages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

import fdiv_gym as fg
from fdiv_gym.rewards import CachedJudge, JudgeUsage
from fdiv_gym_judges.keys import BASE_URL, DEFAULT_URL, DEFAULT_VARIABLE, is_loopback, key_for, keys_file
from fdiv_gym_judges.limits import Gate, ReplyTooLargeError, limit_reply, retry_after

RETRIED_STATUS = (408, 409, 429)
LARGEST_COUNT = 10**9
"""Tokens of one request that a server may report; a larger number is not counted."""


class ServerOptions(CachedJudge.Options):
    """Connection to a server. Its key is bound to its host in a file of the user; no option names a key."""

    model: str
    """The model's name at the server."""
    base_url: str | None = None
    """E.g. ``http://127.0.0.1:8000/v1``; by default that of OpenAI. The key of its host comes from the user's file."""
    concurrency: int = pydantic.Field(8, ge=1)
    """Largest number of concurrent requests of the judge, over all calls together."""
    requests_per_second: float | None = pydantic.Field(None, gt=0)
    """Largest rate of requests of the judge, over all calls together; by default none."""
    timeout_s: float = pydantic.Field(60.0, gt=0)
    """Seconds one request may take, from its start to its last byte."""
    retries: int = pydantic.Field(4, ge=0)
    """Further attempts after a temporary failure (429, 5xx, a lost connection, a timeout)."""
    backoff_s: float = pydantic.Field(0.5, ge=0)
    """Seconds before the first further attempt; doubled each time, at most ``timeout_s``."""
    longest_retry_after_s: float = pydantic.Field(120.0, ge=0)
    """Largest pause that a server may ask for by ``Retry-After``; it holds all requests of the judge."""
    temperature: float = pydantic.Field(0.0, ge=0)
    """Sampling temperature of the judge."""
    max_tokens: int = pydantic.Field(256, ge=1)
    """Largest number of tokens of a reply."""
    price_prompt: float = pydantic.Field(0.0, ge=0)
    """Price of a million prompt tokens, for the cost in the log."""
    price_completion: float = pydantic.Field(0.0, ge=0)
    """Price of a million completion tokens."""

    def servers_contacted(self) -> tuple[str, ...]:
        """The server, also where it is the default."""
        return (self.address,)

    @property
    def address(self) -> str:
        """The URL of the server."""
        return self.base_url or DEFAULT_URL

    # It raises ConfigError itself: errors of pydantic repeat the value, which may hold a secret.
    @pydantic.field_validator("base_url", mode="before")
    @classmethod
    def _holds_no_secret(cls, value: Any) -> Any:
        if isinstance(value, str) and not BASE_URL.fullmatch(value):
            raise fg.ConfigError(
                "judge option 'base_url' must be http(s)://host[:port]/path without user, password or query (it is "
                f"written to the run folder): bind the key to the host in {keys_file()}"
            )
        return value


@dataclass(frozen=True)
class Reply:
    """The text from a server, or the reason why there is none."""

    text: str | None
    failure: str = ""


class Server:
    """Sends chats and returns replies; a failure is a ``Reply`` without text, never an exception.

    Args:
        options: address and limits.
        usage: counts calls, retries, tokens and cost.

    Raises:
        JudgeError: the default service is used without a key, or the user's file of keys is wrong.
    """

    def __init__(self, options: ServerOptions, usage: JudgeUsage) -> None:
        self._options = options
        self._usage = usage
        self._gate = Gate(options.concurrency, options.requests_per_second)
        if not self._key and options.base_url is None:
            raise fg.JudgeError(
                f"the judge 'llm' needs a key for {DEFAULT_URL}: set the environment variable {DEFAULT_VARIABLE}, add "
                f"the host to {keys_file()}, or set base_url of a server that needs none"
            )

    @property
    def _key(self) -> str:
        return key_for(self._options.address)

    async def ask(self, chats: Sequence[list[dict[str, str]]], **extra: Any) -> list[Reply]:
        """One reply to each chat, in their order.

        Args:
            chats: messages with role and content.
            extra: further fields of the request, e.g. ``response_format``.
        """
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        client = AsyncOpenAI(
            api_key=self._key or "none", base_url=self._options.address, timeout=self._options.timeout_s, max_retries=0,
            default_headers={"Accept-Encoding": "identity"},
            http_client=DefaultAsyncHttpxClient(
                follow_redirects=False, timeout=self._options.timeout_s, event_hooks={"response": [limit_reply]},
                # No proxy of the environment gets what is meant for this machine, the key included.
                mounts={"http://": None, "https://": None} if is_loopback(self._options.address) else None,
            ),
        )  # fmt: skip
        client.organization = client.project = None  # the package reads them from the environment, for any host

        async with client:
            _ = client.chat.completions  # its import at first use takes longer than a short timeout
            return list(await asyncio.gather(*(self._persist(client, chat, extra) for chat in chats)))

    async def _persist(self, client: Any, chat: list[dict[str, str]], extra: dict[str, Any]) -> Reply:
        failure = ""
        for attempt in range(self._options.retries + 1):
            if attempt:
                self._usage.retries += 1
                await asyncio.sleep(self._pause(attempt))
            try:
                # The client's own timeout bounds each read; this one bounds the whole request.
                async with self._gate, asyncio.timeout(self._options.timeout_s):
                    self._usage.calls += 1
                    completion = await client.chat.completions.create(
                        model=self._options.model, messages=chat, temperature=self._options.temperature,
                        max_tokens=self._options.max_tokens, **extra,
                    )  # fmt: skip
                return self._read(completion)
            except Exception as error:  # any exception of the client library is a transport failure
                failure = self._describe(error)
                if not self._may_pass(error):
                    break
                asked = retry_after(getattr(getattr(error, "response", None), "headers", {}))
                self._gate.hold(min(asked, self._options.longest_retry_after_s))
        return Reply(None, failure)

    def _read(self, completion: Any) -> Reply:
        used = getattr(completion, "usage", None)
        sent, received = (_count(used, "prompt_tokens"), _count(used, "completion_tokens"))
        self._usage.prompt_tokens += sent
        self._usage.completion_tokens += received
        self._usage.cost += (sent * self._options.price_prompt + received * self._options.price_completion) / 1e6
        choices = getattr(completion, "choices", None)
        if not isinstance(choices, list) or len(choices) != 1:
            count = len(choices) if isinstance(choices, list) else "no list of"
            return Reply(None, f"the server sent {count} choices instead of 1")
        text = getattr(getattr(choices[0], "message", None), "content", None)
        if not isinstance(text, str) or not text:
            return Reply(None, "the server sent an empty message")
        return Reply(text)

    def _pause(self, attempt: int) -> float:
        longest = min(self._options.backoff_s * 2.0 ** (attempt - 1), self._options.timeout_s)
        return longest * (0.5 + 0.5 * random.random())  # random, so that clients do not retry at the same time

    def _may_pass(self, error: Exception) -> bool:
        status = getattr(error, "status_code", None)
        if _too_large(error):
            return False
        if isinstance(status, int):
            return status in RETRIED_STATUS or status >= 500
        return True

    def _describe(self, error: Exception) -> str:
        """Class and status only: a server's message may repeat the key, in whole or in part."""
        status = getattr(error, "status_code", None)
        if too_large := _too_large(error):
            return str(too_large)
        if isinstance(error, TimeoutError):
            return f"no reply within {self._options.timeout_s:g} s"
        name = type(error).__name__ + (f" (status {status})" if isinstance(status, int) else "")
        if status in (401, 403) and not self._key:
            return f"{name}: there is no key for {self._options.address} in {keys_file()}"
        return name

    def redacted(self, text: str) -> str:
        """``text`` without the key."""
        key = self._key
        return text.replace(key, "[key]") if key else text


def _too_large(error: BaseException | None) -> ReplyTooLargeError | None:
    """The refusal of a large reply, also where the client library raised an error of its own because of it."""
    while error is not None and not isinstance(error, ReplyTooLargeError):
        error = error.__cause__ or error.__context__
    return error


def _count(used: Any, name: str) -> int:
    value = getattr(used, name, 0)
    # More than any model reads is no count, and sums of such integers have no float.
    return value if type(value) is int and 0 < value <= LARGEST_COUNT else 0
