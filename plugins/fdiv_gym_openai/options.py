"""The options of the engine ``openai``."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

import fdiv_gym as fg
from fdiv_gym.remote import ServerOptions

OWN_FIELDS = frozenset(
    {"model", "messages", "prompt", "n", "seed", "temperature", "top_p", "top_k", "max_tokens", "stream"}
    | {"max_completion_tokens"}
)


class OpenAIOptions(ServerOptions, fg.Engine.Options):
    """Options of the engine ``openai``; its server is always named."""

    base_url: str = pydantic.Field(...)
    """E.g. ``http://127.0.0.1:8000/v1`` or ``https://api.openai.com/v1``. The key of its host comes from the user's
    file of keys."""
    timeout_s: float = pydantic.Field(120.0, gt=0)
    """Seconds one request may take, from its start to its last byte; long responses need more."""
    send_seed: bool = True
    """Send a seed with each request; false for a server that refuses the field."""
    length_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The field of the longest response; some vendors know the second name only."""
    extra: dict[str, Any] = pydantic.Field(default_factory=dict)
    """Further fields of each request, as this server defines them, e.g. ``chat_template_kwargs``; no secrets: they are
    written to the evaluation's folder."""

    @pydantic.field_validator("extra")
    @classmethod
    def _are_not_set_elsewhere(cls, extra: dict[str, Any]) -> dict[str, Any]:
        own = sorted(OWN_FIELDS & set(extra))
        if own:
            raise ValueError(f"{own[0]!r} is sent by the engine itself: use its own options")
        return extra
