"""A cache of verdicts on disk, by the hash of the scored content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fdiv_gym.errors import EnvError
from fdiv_gym.types.verdict import Verdict


class _Held:
    """Verdicts that are not written to disk yet, by path; None while verdicts are written at once."""

    def __init__(self) -> None:
        self.verdicts: dict[Path, Verdict] | None = None
        self.lock = threading.Lock()


_held = _Held()


@contextlib.contextmanager
def held_verdicts() -> Iterator[None]:
    """Keep new verdicts of this process in memory until the block ends, and drop them if it raises.

    A trainer records the judge's totals at the end of such a block. So a run that is killed inside it, and resumed,
    asks the judge again as if the block had not begun, and its totals are those of a run that was not killed.
    """
    if _held.verdicts is not None:
        yield
        return
    _held.verdicts = {}
    try:
        yield
        for path, verdict in _held.verdicts.items():
            _write(path, verdict)
    finally:
        _held.verdicts = None


class VerdictCache:
    """Scored verdicts on disk, one small file each.

    A file gets its name only when it is complete, so processes and threads may share the folder; two that
    score the same content at once write the same file. A failure to write is ignored: the verdict is
    computed again later.

    Args:
        folder: created when the first verdict is stored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def key(*content: Any) -> str:
        """SHA-256 of JSON values: equal content, equal key, on any machine."""
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def get(self, key: str) -> Verdict | None:
        """The scored verdict stored under ``key``, or None if there is none or the file is damaged."""
        path = self._path(key)
        with _held.lock:
            if path in (_held.verdicts or {}):
                return (_held.verdicts or {})[path]
        try:
            verdict = Verdict.from_dict(json.loads(path.read_text(encoding="utf-8")))
            return verdict if verdict.is_scored else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, EnvError):
            return None

    def put(self, key: str, verdict: Verdict) -> None:
        """Store a scored verdict; other verdicts are not stored, because a later attempt may succeed."""
        if not verdict.is_scored:
            return
        path = self._path(key)
        with _held.lock:
            if _held.verdicts is not None:
                _held.verdicts[path] = verdict
                return
        _write(path, verdict)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"


def _write(path: Path, verdict: Verdict) -> None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(verdict.to_dict(), file, default=float)  # components may be numpy's numbers
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
