"""The files of a bundle: their names, deterministic writing, and reading that trusts nothing.

::

    manifest.json          SHA-256 and size of every other file, and of samples that were left out; what drew the report
    matrix.toml            the matrix
    bench.json             command, versions, hardware, decoding
    lock.txt               versions of the installed packages
    plugins.json           version and source hash of every plugin
    configs.jsonl.gz       resolved configuration and plugins of every cell
    records/KIND.jsonl.gz  records of the cells: table, tuning, control
    after.jsonl.gz         after.json of the cells of the table
    tuning.json            the trials, and what was chosen
    untrained/NAME.json    untrained.json of an environment and a model
    tasks/ENV.jsonl.gz     prompts, answers and data of an environment's tasks, each once
    samples/CELL.jsonl.gz  the last evaluation of a cell, by task; CELL is its folder in that of the bench
    report/                the report; tables.json in it is every number of every table
    CITATION.cff
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fdiv_gym.errors import BenchError
from fdiv_gym.files import open_for_reading
from fdiv_gym.registry.messages import printable, shorten

MANIFEST, MATRIX, BENCH, LOCK, PLUGINS = "manifest.json", "matrix.toml", "bench.json", "lock.txt", "plugins.json"
CONFIGS, AFTER, TUNING, TABLES = "configs.jsonl.gz", "after.jsonl.gz", "tuning.json", "report/tables.json"
RECORDS, UNTRAINED, TASKS, SAMPLES, REPORT = "records", "untrained", "tasks", "samples", "report"
CITATION = "CITATION.cff"
GZIPPED = ".jsonl.gz"
FORMAT = 1

MOST_FILES = 20_000
LARGEST_FILE = 2**28
"""Bytes of a file as it lies there."""
LARGEST_CONTENT = 2**29
"""Bytes of an unpacked file: a small one may unpack to terabytes."""
MOST_LINES = 1_000_000
"""A line costs far more memory than its characters."""
LONGEST_NAME = 300


class Bundle:
    """Reads the files of a bundle, which may be hostile; see the module.

    Args:
        path: the folder.

    Raises:
        BenchError: it is no folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise BenchError(f"there is no bundle {self.path}: give the folder that holds {MANIFEST}")

    def names(self) -> list[str]:
        """Every file, as a path in the bundle, sorted.

        Raises:
            BenchError: a link, a pipe or a device, or too many files.
        """
        found: list[str] = []
        folders = [self.path]
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    name = Path(entry.path).relative_to(self.path).as_posix()
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif not entry.is_file(follow_symlinks=False):
                        raise BenchError(f"{shorten(name)} is a link, a pipe or a device: a bundle holds files only")
                    else:
                        found.append(name)
                    if len(found) + len(folders) > MOST_FILES:
                        raise BenchError(f"{self.path} holds more than {MOST_FILES} files: it is no bundle")
        return sorted(found)

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            BenchError: it is missing, too long or no file.
        """
        path = self.path / checked_name(name)
        try:
            with open_for_reading(path) as file:
                content = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise BenchError(f"{shorten(name)} cannot be read: {error.strerror}") from None
        if len(content) > LARGEST_FILE:
            raise BenchError(f"{shorten(name)} has more than {LARGEST_FILE >> 20} MB")
        return content

    def text(self, name: str) -> str:
        """The UTF-8 text of a file, unpacked if its name ends in ``.gz``.

        Raises:
            BenchError: as ``read``; or it is not UTF-8, or damaged.
        """
        content = self.read(name)
        try:
            return (_unpacked(content) if name.endswith(".gz") else content).decode("utf-8")
        except (UnicodeDecodeError, ValueError) as error:
            raise BenchError(f"{shorten(name)} is damaged: {printable(str(error))[:200]}") from None

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object of a file.

        Raises:
            BenchError: as ``text``; or it holds no JSON object, a key twice, or a number that is not finite.
        """
        return _parsed(self.text(name), name)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The JSON objects of a file of lines.

        Raises:
            BenchError: as ``json``.
        """
        text = self.text(name)
        if text.count("\n") > MOST_LINES:
            raise BenchError(f"{shorten(name)} has more than {MOST_LINES} lines")
        texts = text.split("\n")
        return [_parsed(text, f"{name}, line {number}") for number, text in enumerate(texts, 1) if text]

    def by_cell(self, name: str, key: str) -> dict[str, Any]:
        """What a file of lines has under a key, by its ``cell``.

        Raises:
            BenchError: as ``json``; a line without both, or a cell twice.
        """
        found: dict[str, Any] = {}
        for line in self.lines(name):
            cell = line.get("cell")
            if not isinstance(cell, str) or key not in line or cell in found:
                raise BenchError(f"{name}: the line of {shorten(cell)} has no {key}, or is there twice")
            found[cell] = line[key]
        return found

    def digest(self) -> str:
        """SHA-256 of the manifest: it stands for every byte of the bundle."""
        return hashlib.sha256(self.read(MANIFEST)).hexdigest()


def samples_name(cell: str) -> str:
    """The file of the samples of a cell, or of one evaluation of the untrained model."""
    return f"{SAMPLES}/{cell}{GZIPPED}"


def checked_name(name: object) -> str:
    """A name of a file inside a bundle.

    Raises:
        BenchError: it may lead out of the bundle, or is no name at all.
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or "\\" in name or not name.isprintable():
        raise BenchError(f"{shorten(name)} is no name of a file in a bundle")
    if name.startswith("/") or ":" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise BenchError(f"{shorten(name)} leads out of the bundle")
    return name


def write_text(folder: Path, name: str, text: str) -> None:
    """Write a file of a bundle; one whose name ends in ``.gz`` is packed, with equal bytes for equal text."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode("utf-8")
    path.write_bytes(_packed(content) if name.endswith(".gz") else content)


def json_text(value: Any) -> str:
    """A value as indented JSON text."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def lines_text(lines: Iterable[Mapping[str, Any]]) -> str:
    """Values as lines of JSON; a lone surrogate, which UTF-8 lacks, is escaped."""
    return "".join(_line(line) + "\n" for line in lines)


def _line(line: Mapping[str, Any]) -> str:
    text = json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(line, allow_nan=False, separators=(",", ":"))
    return text


def _packed(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def _unpacked(content: bytes) -> bytes:
    """The content of one gzip member and nothing behind it, of at most ``LARGEST_CONTENT`` bytes."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(content, LARGEST_CONTENT + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(found) > LARGEST_CONTENT:
        raise ValueError(f"it unpacks to more than {LARGEST_CONTENT >> 20} MB")
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("it is cut off, or something follows its end")
    return found


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{where} is damaged: {printable(str(error))[:200]}") from None
    if not isinstance(value, dict):
        raise BenchError(f"{where} is damaged: it holds no JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # another reader may take the other value
        raise ValueError("a key stands there twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def differing(name: str, found: Any, expected: Any, *, relative: float = 0.0) -> Iterator[tuple[str, Any, Any]]:
    """Where nested JSON values differ: the dotted key, what was found, and what was expected.

    Args:
        name: the key of the values; empty at the top.
        found: as it lies in the bundle.
        expected: as it was computed.
        relative: how far numbers may lie apart, as a share of the larger.
    """
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in [*expected, *(key for key in found if key not in expected)]:
            inner = f"{name}.{key}" if name else str(key)
            yield from differing(inner, found.get(key, MISSING), expected.get(key, MISSING), relative=relative)
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for place, pair in enumerate(zip(found, expected, strict=True)):
            yield from differing(f"{name}[{place}]", *pair, relative=relative)
    elif not _equal(found, expected, relative):
        yield name, found, expected


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()
"""Stands for a value that one side lacks."""


def _equal(found: Any, expected: Any, relative: float) -> bool:
    numbers = [isinstance(value, (int, float)) and not isinstance(value, bool) for value in (found, expected)]
    if not all(numbers):
        return type(found) is type(expected) and bool(found == expected)
    if relative == 0.0:
        return bool(found == expected)
    try:
        return bool(abs(found - expected) <= relative * max(abs(found), abs(expected), 1e-6))
    except OverflowError:
        return False
