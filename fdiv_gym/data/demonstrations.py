"""Demonstrations for the warm start of the embedded model, taken from preference data."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdiv_gym.data.preferences import PreferenceData
from fdiv_gym.types.message import Message


class PreferenceDemonstrations:
    """Demonstrations for the embedded model without an environment: both sides of the preferences."""

    def __init__(self, data: PreferenceData) -> None:
        self._data = data

    def describe(self) -> dict[str, Any]:
        """The inputs that determine the demonstrations."""
        return {"preferences": self._data.fingerprint}

    def draw(self, count: int, rng: np.random.Generator) -> list[tuple[str, str] | tuple[Message, ...]]:
        """Pairs (prompt, response), or conversations; chosen and rejected responses equally often."""
        said = [
            (unit.prompt, text) if isinstance(unit.prompt, str) else (*unit.prompt, Message("assistant", text))
            for unit in self._data.units
            for text in (unit.chosen, unit.rejected)
            if text is not None
        ]
        return [said[int(i)] for i in rng.integers(len(said), size=count)]
