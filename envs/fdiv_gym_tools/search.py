"""A search tool: the texts of a local folder, ranked by BM25 in an index of SQLite (FTS5) that is kept in memory."""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fdiv_gym as fg
from fdiv_gym.registry import printable

log = logging.getLogger(__name__)

ENDINGS = (".txt", ".md", ".rst")
LARGEST_FILE = 10_000_000
LARGEST_FOLDER = 1_000_000_000
"""Bytes of all texts together."""
LONGEST_QUERY = 1000
"""Characters of a query that are read."""
MOST_WORDS = 32
"""Words of a query that are searched for."""
SNIPPET_WORDS = 32
SNIPPET_CHARACTERS = 400


@dataclass(frozen=True)
class Hit:
    """A text that was found.

    Args:
        name: its path in the folder, with forward slashes.
        snippet: the part with most of the words, on one line.
        score: BM25 (https://www.sqlite.org/fts5.html, section 5.1.1), positive; the larger, the better.
    """

    name: str
    snippet: str
    score: float


class TextIndex:
    """The texts of a folder and of those inside it; links are not followed.

    A file that is too large or holds no UTF-8 text is left out, with a warning in the log. Safe for several threads.

    Args:
        folder: where the texts are.
        endings: of the names of texts, lower-case.
        largest_file: bytes of a text; a larger file is left out.

    Attributes:
        names: the texts in the index, sorted.
        skipped: the files left out, each with the reason.

    Raises:
        ConfigError: there is no such folder, it holds no text, its texts are too large together, or Python's SQLite has
            no FTS5.
    """

    def __init__(
        self, folder: str | Path, *, endings: Sequence[str] = ENDINGS, largest_file: int = LARGEST_FILE
    ) -> None:
        self.folder, self._endings, self._largest = Path(folder), tuple(endings), largest_file
        self.skipped: dict[str, str] = {}
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        try:
            self._database.execute(
                "CREATE VIRTUAL TABLE texts USING fts5(name, text, tokenize = 'unicode61 remove_diacritics 2')"
            )
        except sqlite3.OperationalError as error:
            raise fg.ConfigError(
                f"the search tool needs SQLite with FTS5, which this Python has not: {error}"
            ) from None
        with self._database:
            self._database.executemany("INSERT INTO texts VALUES (?, ?)", self._texts())
        self.names = tuple(name for (name,) in self._database.execute("SELECT name FROM texts ORDER BY name"))
        for name, reason in self.skipped.items():
            log.warning("search tool: %s is left out: %s", _shown(f"{self.folder}/{name}"), reason)
        if not self.names:
            why = "; ".join(f"{_shown(name)}: {reason}" for name, reason in list(self.skipped.items())[:3])
            kinds = ", ".join(self._endings)
            raise fg.ConfigError(f"search tool: {self.folder} holds no text ({kinds}): {why or 'no such file'}")

    def search(self, query: str, limit: int = 3) -> list[Hit]:
        """The texts with any of the words of the query, best first; equal ones by name.

        Every character that is no letter or digit only divides words: a query has no syntax.

        Args:
            query: words.
            limit: number of texts at most.
        """
        words = dict.fromkeys(re.findall(r"[^\W_]+", query[:LONGEST_QUERY].lower()))
        if not words or limit < 1:
            return []
        match = " OR ".join(f'"{word}"' for word in list(words)[:MOST_WORDS])
        with self._lock:
            rows = self._database.execute(
                "SELECT name, snippet(texts, 1, '', '', ' ... ', ?), -bm25(texts) AS score FROM texts "
                "WHERE texts MATCH ? ORDER BY score DESC, name LIMIT ?",
                (SNIPPET_WORDS, match, limit),
            ).fetchall()
        return [Hit(name, " ".join(text.split())[:SNIPPET_CHARACTERS], score) for name, text, score in rows]

    def close(self) -> None:
        """Release the memory."""
        self._database.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy reads the folder again: a database in memory is not pickled.
        return _rebuilt, (str(self.folder), self._endings, self._largest)

    def _texts(self) -> Iterator[tuple[str, str]]:
        if not self.folder.is_dir():
            raise fg.ConfigError(f"search tool: no folder {self.folder}")
        total = 0
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.suffix.lower() not in self._endings:
                continue
            try:
                text = self._read(path)
            except (OSError, ValueError) as error:
                self.skipped[name] = str(error)
                continue
            total += len(text)
            if total > LARGEST_FOLDER:
                raise fg.ConfigError(
                    f"search tool: the texts of {self.folder} have more than {LARGEST_FOLDER} characters"
                )
            yield name.encode("utf-8", "replace").decode(), text

    def _read(self, path: Path) -> str:
        """The text of a file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no regular file, too large, or no UTF-8 text.
        """
        if path.is_symlink() or not path.is_file():
            raise ValueError("no regular file")
        with path.open("rb") as file:
            content = file.read(self._largest + 1)
        if len(content) > self._largest:
            raise ValueError(f"more than {self._largest} bytes")
        if b"\0" in content:
            raise ValueError("a binary file")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"no UTF-8 at byte {error.start}") from None


def _rebuilt(folder: str, endings: Sequence[str], largest_file: int) -> TextIndex:
    return TextIndex(folder, endings=endings, largest_file=largest_file)


def _shown(name: str) -> str:
    """A file's name on one line: one with a line feed would look like another file."""
    return printable(name).replace("\n", "\\n").replace("\t", "\\t")


def search_tool(index: TextIndex, *, limit: int = 3) -> Callable[[str], str]:
    """The function ``search`` over an index, as a tool: the names and snippets of the best texts, one line each.

    Args:
        index: the texts; tools may share one.
        limit: number of texts at most.

    Raises:
        ValueError: the limit is below 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")

    def search(query: str) -> str:
        """Search the texts; returns the names of the best ones, each with the part that matches.

        Args:
            query: Words to look for.
        """
        hits = index.search(query, limit)
        return "\n".join(f"{_shown(hit.name)}: {hit.snippet}" for hit in hits) or "no text holds any of these words"

    return search
