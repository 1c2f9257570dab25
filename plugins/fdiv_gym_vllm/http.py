"""JSON requests to one vLLM server."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any

import fdiv_gym as fg

SHOWN = 300
LARGEST_REPLY = 1 << 30
"""Bytes of a reply that are read at most."""
PART = 1 << 20
"""Bytes of a reply that are read at a time."""


class Server:
    """One server.

    Args:
        address: ``http://host:port``.
        timeout_s: seconds that one request may take.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        self.address, self._timeout_s = address, timeout_s
        # No proxy of the environment, and no server that this one would redirect to, gets the prompts.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def get(self, path: str) -> Any:
        """The reply to a GET request; see ``post``."""
        return self._send(urllib.request.Request(self.address + path))

    def post(self, path: str, body: Any = None) -> Any:
        """The reply to a POST request, read as JSON; None for an empty reply.

        Raises:
            EngineError: no connection, no reply in time, a status other than 200, or a reply that is not JSON.
        """
        data = json.dumps({} if body is None else body).encode()
        headers = {"Content-Type": "application/json"}
        return self._send(urllib.request.Request(self.address + path, data, headers, method="POST"))

    def _send(self, request: urllib.request.Request) -> Any:
        place = f"vLLM server {request.full_url}"
        try:
            with self._opener.open(request, timeout=self._timeout_s) as reply:
                text = self._read(reply, time.monotonic() + self._timeout_s)
        except urllib.error.HTTPError as error:
            raise fg.EngineError(f"{place}: status {error.code}: {_shown(error)}{_advice(error.code)}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise fg.EngineError(
                    f"{place}: no complete reply within engine.timeout_s = {self._timeout_s:g} s: see the server's log"
                ) from None
            what = reason if isinstance(error, OSError) else f"no reply of HTTP: {type(error).__name__} {error}"[:SHOWN]
            raise fg.EngineError(f"{place}: {what}: start it, or correct engine.servers") from None
        if not text:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise fg.EngineError(f"{place}: the reply is not JSON: {text[:SHOWN]!r}") from None

    @staticmethod
    def _read(reply: http.client.HTTPResponse, deadline: float) -> bytes:
        """All of a reply; the timeout of a connection is only that of its next bytes."""
        parts, size = [], 0
        while part := reply.read1(PART):
            parts.append(part)
            size += len(part)
            if time.monotonic() > deadline or size > LARGEST_REPLY:
                raise TimeoutError
        return b"".join(parts)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        return None


def _shown(error: urllib.error.HTTPError) -> str:
    try:
        text = error.read(SHOWN).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):  # the status is known all the same
        return "without a readable text"
    return " ".join(text.split())


def _advice(status: int) -> str:
    return " (start the server with VLLM_SERVER_DEV_MODE=1)" if status == 404 else ""
