"""Preference data: the units of a preference set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from fdiv_gym.types.message import Prompt, plain_prompt


@dataclass(frozen=True)
class PreferenceUnit:
    """One pair, or one labelled response; a labelled response sets only one of the two fields."""

    prompt: Prompt
    chosen: str | None
    rejected: str | None

    @property
    def paired(self) -> bool:
        """Whether both responses are present."""
        return self.chosen is not None and self.rejected is not None

    def key(self) -> str:
        """SHA-256 of the content: equal units have equal keys on any machine."""
        return digest([plain_prompt(self.prompt), self.chosen, self.rejected])


def digest(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
