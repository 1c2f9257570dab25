"""Limits of requests to a server: how many at once, how often, after which pause, and how large a reply may be."""

from __future__ import annotations

import asyncio
import email.utils
import importlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Self

POLL_S = 0.01


class ReplyTooLargeError(Exception):
    """A reply is larger than allowed, or compressed, so that its size is not known."""


class Gate:
    """Admits requests of all calls, threads and event loops of one client.

    Args:
        concurrency: largest number of requests at once.
        rate: largest number of requests a second; None for any.
    """

    def __init__(self, concurrency: int, rate: float | None = None) -> None:
        self._free = threading.Semaphore(concurrency)
        self._interval = 0.0 if rate is None else 1 / rate
        self._lock = threading.Lock()
        self._next = 0.0
        self._held_until = 0.0

    async def __aenter__(self) -> Self:
        # Not asyncio's semaphore: it belongs to one event loop, and each call of a judge or an engine has its own.
        while not self._free.acquire(blocking=False):
            await asyncio.sleep(POLL_S)
        try:
            while (left := self._left()) > 0:
                await asyncio.sleep(left)
        except BaseException:
            self._free.release()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._free.release()

    def _left(self) -> float:
        """Seconds until a request may be tried again; 0 admits one, which counts for the rate from now on."""
        with self._lock:
            now = time.monotonic()
            left = max(self._next, self._held_until) - now
            if left <= 0:
                self._next = now + self._interval
            return max(0.0, left)

    def hold(self, seconds: float) -> None:
        """Admit no request for ``seconds``."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + seconds)


def retry_after(headers: Mapping[str, str]) -> float:
    """The pause that a server asks for, in seconds; 0 without a valid ``Retry-After`` (a number or a date)."""
    text = str(headers.get("retry-after", "")).strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def reply_limit(largest: int) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """A hook of the HTTP client: ends a reply at ``largest`` bytes, whatever its headers say.

    The hook raises ``ReplyTooLargeError`` if the reply is compressed, or if its headers announce more.
    """

    async def limit(response: Any) -> None:
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding not in ("", "identity"):
            raise ReplyTooLargeError(f"the server sent a compressed reply ({encoding[:20]}), which was not asked for")
        announced = response.headers.get("content-length", "")
        if announced.isdigit() and int(announced[:20]) > largest:
            raise _too_large(largest)
        # The client library is httpx or its successor, by the version of the package openai.
        library = importlib.import_module(type(response).__module__.partition(".")[0])
        response.stream = _limited(library.AsyncByteStream, largest)(response.stream)

    return limit


def _limited(base: type[Any], largest: int) -> type[Any]:
    class LimitedStream(base):  # type: ignore[misc]  # its library is known at run time only
        """The bytes of another stream, up to the limit."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        async def __aiter__(self) -> AsyncIterator[bytes]:
            count = 0
            async for part in self._inner:
                count += len(part)
                if count > largest:
                    raise _too_large(largest)
                yield part

        async def aclose(self) -> None:
            await self._inner.aclose()

    return LimitedStream


def _too_large(largest: int) -> ReplyTooLargeError:
    return ReplyTooLargeError(f"the server's reply is larger than {largest} bytes")
