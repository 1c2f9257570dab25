"""Claim: one statement of the theory, with its measured number and its bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Sense = Literal["<=", ">="]


@dataclass(frozen=True)
class Claim:
    """One row of ``fdiv-gym check theory``: a claim, which a bound can refute, or a measurement without a bound.

    Args:
        name: the claim in one line.
        source: the source of the claim: an arXiv number, or ``ours``.
        measured: the measured number.
        bound: the bound of the number; None makes it a measurement, which states nothing and cannot fail.
        sense: whether the number must be at most or at least the bound.
        detail: the number of cases and the settings.
        id: the name by which docs and tests refer to it, that of the function that measures it.
    """

    name: str
    source: str
    measured: float
    bound: float | None
    sense: Sense = "<="
    detail: str = ""
    id: str = ""

    @property
    def is_measurement(self) -> bool:
        """Whether no bound judges the number."""
        return self.bound is None

    @property
    def passed(self) -> bool:
        """Whether the number satisfies the bound; NaN never does. A measurement passes unless it is NaN."""
        if self.bound is None:
            return not math.isnan(self.measured)
        return self.measured <= self.bound if self.sense == "<=" else self.measured >= self.bound

    def to_dict(self) -> dict[str, Any]:
        """The claim as data; numbers without a JSON form become strings."""
        return {
            "id": self.id,
            "kind": "measurement" if self.is_measurement else "claim",
            "claim": self.name,
            "source": self.source,
            "measured": self.measured if math.isfinite(self.measured) else str(self.measured),
            "bound": self.bound,
            "sense": self.sense if self.bound is not None else None,
            "passed": self.passed,
            "detail": self.detail,
        }
