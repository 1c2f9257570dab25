"""The options of a connection to a server."""

from __future__ import annotations

from typing import Any, ClassVar

import pydantic

from fdiv_gym.errors import ConfigError
from fdiv_gym.registry.options import Options
from fdiv_gym.remote.keys import BASE_URL, DEFAULT_URL, keys_file


class ServerOptions(Options):
    """Connection to a server. Its key is bound to its host in a file of the user; no option names a key."""

    #: Options that decide when and how often a request is sent, but not what it says.
    of_transport: ClassVar[frozenset[str]] = frozenset(
        {"concurrency", "requests_per_second", "timeout_s", "retries", "backoff_s", "longest_retry_after_s"}
    )

    base_url: str | None = None
    """E.g. ``http://127.0.0.1:8000/v1``; by default that of OpenAI. The key of its host comes from the user's file."""
    concurrency: int = pydantic.Field(8, ge=1)
    """Largest number of concurrent requests, over all calls together."""
    requests_per_second: float | None = pydantic.Field(None, gt=0)
    """Largest rate of requests, over all calls together; by default none."""
    timeout_s: float = pydantic.Field(60.0, gt=0)
    """Seconds one request may take, from its start to its last byte."""
    retries: int = pydantic.Field(4, ge=0)
    """Further attempts after a temporary failure (429, 5xx, a lost connection, a timeout)."""
    backoff_s: float = pydantic.Field(0.5, ge=0)
    """Seconds before the first further attempt; doubled each time, at most ``timeout_s``."""
    longest_retry_after_s: float = pydantic.Field(120.0, ge=0)
    """Largest pause that a server may ask for by ``Retry-After``; it holds all requests."""

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
            raise ConfigError(
                "option 'base_url' must be http(s)://host[:port]/path without user, password or query (it is "
                f"written to the run folder): bind the key to the host in {keys_file()}"
            )
        return value
