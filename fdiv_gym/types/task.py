"""Task: one prompt to answer, a frozen record with a content hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fdiv_gym.errors import EnvError
from fdiv_gym.types.unicode import normalised


@dataclass(frozen=True)
class Task:
    """One task of a text environment.

    Args:
        prompt: the input text of the policy; lone surrogates in it or in the answer are replaced by U+FFFD.
        answer: the reference answer, if there is one.
        data: further data that the environment needs to score a response; JSON values only.

    Raises:
        EnvError: the prompt is not a string, or ``data`` is not JSON.
    """

    prompt: str
    answer: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            raise EnvError(f"a task's prompt must be a string, got {type(self.prompt).__name__}")
        if self.answer is not None and not isinstance(self.answer, str):
            raise EnvError(f"a task's answer must be a string or None, got {self.answer!r}")
        for name in ("prompt", "answer"):
            text = getattr(self, name)
            if text is not None and (valid := normalised(text)) != text:
                object.__setattr__(self, name, valid)

    @cached_property
    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of the content: equal content, equal hash, on any machine."""
        try:
            content = json.dumps([self.prompt, self.answer, dict(self.data)], sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise EnvError(f"the data of a task must be JSON: {error}") from None
        return hashlib.sha256(content.encode()).hexdigest()[:16]
