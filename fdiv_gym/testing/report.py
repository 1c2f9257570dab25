"""Report: the results of a conformance kit, as text and as data."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fdiv_gym.errors import FdivGymError


class CannotCheckError(FdivGymError):
    """A requirement for the check of an instance is missing, e.g. data that are not on this machine.

    ``fdiv-gym check`` shows such a plugin as skipped, not as failed.
    """


@dataclass(frozen=True)
class Check:
    """One check of a kit.

    Args:
        name: short and stable, e.g. ``"fenchel-young"``; several checks may share it.
        passed: whether the check passed.
        message: for a failed check: the expected value, the value found, and the input.
    """

    name: str
    passed: bool
    message: str = ""


class Report:
    """Collects all checks on one subject, so that one run shows every fault.

    Args:
        subject: the name of the checked instance, e.g. ``"divergence 'kl' (link fgan)"``.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.checks: list[Check] = []
        self.metrics: dict[str, float] = {}  # additional measurements, e.g. a verifier's error rates
        self.notes: list[str] = []  # findings that are no failures, e.g. tasks without a usable reference
        self._parts: list[Report] = []

    @classmethod
    def of_parts(cls, subject: str, parts: Sequence[Report]) -> Report:
        """One report with all checks of finished ones, e.g. of a divergence with each of its links."""
        report = cls(subject)
        report._parts = list(parts)
        report.checks = [check for part in parts for check in part.checks]
        return report

    @property
    def parts(self) -> list[Report]:
        """The reports that ``of_parts`` combined; for any other report, itself."""
        return self._parts or [self]

    def check(self, name: str, passed: bool, message: str = "") -> bool:
        """Record one check and return whether it passed; the message is kept only for a failure."""
        passed = bool(passed)
        self.checks.append(Check(name, passed, "" if passed else message))
        return passed

    def fail(self, name: str, message: str) -> None:
        """Record a failure."""
        self.check(name, False, message)

    @contextlib.contextmanager
    def section(self, name: str) -> Iterator[Report]:
        """Turn an exception inside the block into a failure of ``name``; later checks still run.

        A block that records nothing and does not raise counts as one passed check. CannotCheckError passes through.
        """
        before = len(self.checks)
        try:
            yield self
        except CannotCheckError:
            raise
        except (Exception, SystemExit) as error:
            self.fail(name, f"raised {type(error).__name__}: {error}")
        else:
            if len(self.checks) == before:
                self.check(name, True)

    @property
    def failures(self) -> list[Check]:
        """The failed checks, in order."""
        return [check for check in self.checks if not check.passed]

    @property
    def ok(self) -> bool:
        """Whether there are checks and none failed."""
        return bool(self.checks) and not self.failures

    def failed(self, name: str) -> bool:
        """Whether a check of that name failed."""
        return any(check.name == name for check in self.failures)

    def text(self) -> str:
        """A heading and one line for each failure; several parts follow one another."""
        if self._parts:
            return "\n".join(part.text() for part in self._parts)
        if not self.checks:
            return f"{self.subject}: nothing was checked"
        if self.ok:
            return f"{self.subject}: {len(self.checks)} checks passed"
        lines = [f"{self.subject}: {len(self.failures)} of {len(self.checks)} checks failed"]
        return "\n".join(lines + [f"  {check.name}: {check.message}" for check in self.failures])

    def to_dict(self) -> dict[str, Any]:
        """``{"subject", "ok", "checks": [{"name", "passed", "message"}, ...]}`` ``metrics`` and ``notes`` if any."""
        record: dict[str, Any] = {"subject": self.subject, "ok": self.ok}
        record["checks"] = [asdict(check) for check in self.checks]
        if self.metrics:
            record["metrics"] = dict(self.metrics)
        return record | {"notes": list(self.notes)} if self.notes else record

    def to_json(self) -> str:
        """The same as one JSON document."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        return self.text()
