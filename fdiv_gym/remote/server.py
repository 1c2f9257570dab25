"""Requests to an OpenAI-compatible server: bounded in time, retried with back-off, without keys in messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fdiv_gym.remote.keys import is_loopback, key_for, keys_file
from fdiv_gym.remote.limits import Gate, ReplyTooLargeError, reply_limit, retry_after
from fdiv_gym.remote.options import ServerOptions
from fdiv_gym.remote.reply import Reply

RETRIED_STATUS = (408, 409, 429)
SHOWN = 300
PIECE = 6
"""Characters of a key that are a part of it; a shorter text may be in both by chance."""


class Counters(Protocol):
    """What a server counts."""

    calls: int
    retries: int


@dataclass
class Traffic:
    """Counts of requests.

    Args:
        calls: requests sent, retries included.
        retries: requests repeated after a failure.
    """

    calls: int = 0
    retries: int = 0


class Server:
    """A server that speaks OpenAI's protocol; connections to it share limits, counters and the key of its host.

    Args:
        options: address and limits.
        largest_reply: bytes of a reply; a longer one is not read to its end.
        traffic: counts requests and retries.
    """

    def __init__(self, options: ServerOptions, largest_reply: int, traffic: Counters | None = None) -> None:
        self.options = options
        self.traffic: Counters = Traffic() if traffic is None else traffic
        self.gate = Gate(options.concurrency, options.requests_per_second)
        self._largest = largest_reply

    @property
    def key(self) -> str:
        """The key of the host, read when it is needed; empty if there is none.

        Raises:
            ConfigError: the user's file of keys is wrong.
        """
        return key_for(self.options.address)

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """A connection in the running event loop.

        Raises:
            ConfigError: the user's file of keys is wrong.
        """
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        o = self.options
        client = AsyncOpenAI(
            api_key=self.key or "none", base_url=o.address, timeout=o.timeout_s, max_retries=0,
            default_headers={"Accept-Encoding": "identity"},
            http_client=DefaultAsyncHttpxClient(
                follow_redirects=False, timeout=o.timeout_s, event_hooks={"response": [reply_limit(self._largest)]},
                # No proxy of the environment gets what is meant for this machine, the key included.
                mounts={"http://": None, "https://": None} if is_loopback(o.address) else None,
            ),
        )  # fmt: skip
        client.organization = client.project = None  # the package reads them from the environment, for any host
        async with client:
            _ = client.chat.completions  # its import at first use takes longer than a short timeout
            yield Connection(self, client)

    def redacted(self, text: str) -> str:
        """``text`` without the key."""
        key = self.key
        return text.replace(key, "[key]") if key else text


class Connection:
    """Sends requests and returns replies; a failure is a ``Reply`` without choices, never an exception."""

    def __init__(self, server: Server, client: Any) -> None:
        self._server, self._client = server, client

    async def chat(self, body: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Reply:
        """A reply to a chat.

        Args:
            body: fields of OpenAI's ``chat/completions``: ``model``, ``messages``, and others.
            extra: fields that only some servers know.
        """
        found = await self._persist(self._client.chat.completions.create, {**body, "extra_body": dict(extra or {})})
        return found if isinstance(found, Reply) else Reply.read(found)

    async def complete(self, body: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Reply:
        """A reply to a plain text: as ``chat``, of ``completions`` with ``prompt``."""
        found = await self._persist(self._client.completions.create, {**body, "extra_body": dict(extra or {})})
        return found if isinstance(found, Reply) else Reply.read(found)

    async def models(self) -> list[Mapping[str, Any]] | Reply:
        """The cards of the served models, each with ``id``; a failure without any.

        A lost connection is retried. A refusal is not, since some servers have no list.
        """
        found = await self._persist(self._client.models.list, {}, retries_refusals=False)
        if isinstance(found, Reply):
            return found
        cards = getattr(found, "data", None)
        if not isinstance(cards, list):
            return Reply(None, "the server's reply has no list of models")
        return [vars(card) for card in cards if isinstance(getattr(card, "id", None), str)]

    async def _persist(self, send: Any, body: dict[str, Any], *, retries_refusals: bool = True) -> Any:
        """What ``send`` returns, or a Reply that tells why there is nothing."""
        options, gate, traffic = self._server.options, self._server.gate, self._server.traffic
        failed = Reply(None)
        for attempt in range(options.retries + 1):
            if attempt:
                traffic.retries += 1
                await asyncio.sleep(self._pause(attempt))
            try:
                # The client's own timeout bounds each read; this one bounds the whole request.
                async with gate, asyncio.timeout(options.timeout_s):
                    traffic.calls += 1
                    return await send(**body)
            except Exception as error:  # any exception of the client library is a transport failure
                failed = self._failure(error)
                if not _may_pass(error) or (failed.status is not None and not retries_refusals):
                    break
                asked = retry_after(getattr(getattr(error, "response", None), "headers", {}))
                gate.hold(min(asked, options.longest_retry_after_s))
        return failed

    def _pause(self, attempt: int) -> float:
        options = self._server.options
        longest = min(options.backoff_s * 2.0 ** (attempt - 1), options.timeout_s)
        return longest * (0.5 + 0.5 * random.random())  # random, so that clients do not retry at the same time

    def _failure(self, error: Exception) -> Reply:
        """Class and status: a server's message may repeat the key, in whole or in part."""
        status = getattr(error, "status_code", None)
        options, key = self._server.options, self._server.key
        if too_large := _too_large(error):
            return Reply(None, str(too_large))
        if isinstance(error, TimeoutError):
            return Reply(None, f"no reply within {options.timeout_s:g} s")
        if isinstance(error, json.JSONDecodeError):
            return Reply(None, "the reply is not JSON")
        if not isinstance(status, int):
            return Reply(None, type(error).__name__)
        name = f"{type(error).__name__} (status {status})"
        if status in (401, 403) and not key:
            return Reply(None, f"{name}: there is no key for {options.address} in {keys_file()}", status)
        return Reply(None, name, status, _said(error, key))


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    status = getattr(error, "status_code", None)
    if _too_large(error):
        return False
    if isinstance(status, int):
        return status in RETRIED_STATUS or status >= 500
    return True


def _too_large(error: BaseException | None) -> ReplyTooLargeError | None:
    """The refusal of a large reply, also where the client library raised an error of its own because of it."""
    while error is not None and not isinstance(error, ReplyTooLargeError):
        error = error.__cause__ or error.__context__
    return error


def _said(error: Any, key: str) -> str:
    """The server's words on one line; empty if they repeat a part of the key."""
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, Mapping) else None
    if not isinstance(message, str):
        return ""
    pieces = [key[i : i + PIECE] for i in range(max(len(key) - PIECE + 1, 0))]
    return "" if any(piece in message for piece in pieces) else " ".join(message.split())[:SHOWN]
