"""What a verification finds: disagreements, and what could not be checked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdiv_gym.bench.bundle_files import MISSING, differing
from fdiv_gym.errors import FdivGymError
from fdiv_gym.registry.messages import cause_of, printable, shorten

TOLERANCE = 1e-9
"""How far a number may lie from the recomputed one, as a share of the larger: sums in another order."""
LONGEST = 400
MOST_FAULTS = 10_000
"""Disagreements that are kept; further ones are counted."""


@dataclass(frozen=True)
class Fault:
    """One disagreement.

    Args:
        file: of the bundle.
        key: the place in it; empty for the file as a whole.
        found: what the bundle says.
        recomputed: what follows from the rest of the bundle.
        problem: in place of the two, why something cannot be right.
    """

    file: str
    key: str = ""
    found: Any = None
    recomputed: Any = None
    problem: str = ""

    def __str__(self) -> str:
        place = f"{self.file}: {self.key}" if self.key else self.file
        what = self.problem or f"found {shorten(self.found)}, recomputed {shorten(self.recomputed)}"
        return printable(" ".join(f"{place}: {what}".split()))[:LONGEST]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found, recomputed = (None if v is MISSING else v for v in (self.found, self.recomputed))
        return {"file": self.file, "key": self.key, "found": found, "recomputed": recomputed, "problem": self.problem}


@dataclass(frozen=True)
class Verified:
    """The end of a verification.

    Args:
        path: the bundle.
        digest: SHA-256 of its manifest; empty if it has none.
        faults: disagreements, the first of many.
        more: further ones.
        notes: what was not checked, and why.
        counts: how many cells, samples and numbers were recomputed.
    """

    path: Path
    digest: str
    faults: tuple[Fault, ...]
    more: int
    notes: tuple[str, ...]
    counts: dict[str, int]

    @property
    def clean(self) -> bool:
        """Whether nothing disagrees."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "bundle": str(self.path),
            "clean": self.clean,
            "digest": self.digest,
            "faults": [fault.to_dict() for fault in self.faults],
            "more_faults": self.more,
            "notes": list(self.notes),
            "counts": self.counts,
        }


@dataclass
class Findings:
    """Collects what a verification finds."""

    faults: list[Fault] = field(default_factory=list)
    more: int = 0
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def problem(self, file: str, text: str, key: str = "") -> None:
        """Something that cannot be right."""
        self._add(Fault(file, key, problem=text))

    def compare(self, file: str, found: Any, recomputed: Any, key: str = "", *, relative: float = TOLERANCE) -> None:
        """Compare nested values; every one that differs is a fault."""
        for name, one, other in differing(key, found, recomputed, relative=relative):
            self._add(Fault(file, name, one, other))

    def note(self, text: str) -> None:
        """Something that was not checked; once for equal texts."""
        if text not in self.notes:
            self.notes.append(text)

    def count(self, what: str, number: int = 1) -> None:
        """Count what was recomputed."""
        self.counts[what] = self.counts.get(what, 0) + number

    @contextlib.contextmanager
    def about(self, file: str) -> Iterator[None]:
        """Turn an error into a fault of a file: what a hostile bundle makes fail is not right either."""
        try:
            yield
        except FdivGymError as error:
            self.problem(file, str(error))
        except Exception as error:
            self.problem(file, f"cannot be checked: {cause_of(error)}")

    def _add(self, fault: Fault) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)
        else:
            self.more += 1
