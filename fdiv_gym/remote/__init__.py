"""OpenAI-compatible servers: options of a connection, keys bound to hosts, bounded requests with retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.remote.keys import DEFAULT_URL as DEFAULT_URL
    from fdiv_gym.remote.keys import DEFAULT_VARIABLE as DEFAULT_VARIABLE
    from fdiv_gym.remote.keys import key_for as key_for
    from fdiv_gym.remote.keys import keys_file as keys_file
    from fdiv_gym.remote.options import ServerOptions as ServerOptions
    from fdiv_gym.remote.reply import Choice as Choice
    from fdiv_gym.remote.reply import Reply as Reply
    from fdiv_gym.remote.server import Connection as Connection
    from fdiv_gym.remote.server import Server as Server
    from fdiv_gym.remote.server import Traffic as Traffic

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "keys": ["DEFAULT_URL", "DEFAULT_VARIABLE", "key_for", "keys_file"],
        "options": ["ServerOptions"],
        "reply": ["Choice", "Reply"],
        "server": ["Connection", "Server", "Traffic"],
    },
)
