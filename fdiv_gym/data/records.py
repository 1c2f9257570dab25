"""Readers of records, local or from the hub; each record has its place for error messages."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdiv_gym.errors import ConfigError, MissingExtraError
from fdiv_gym.types.unicode import normalised_json, tell_normalised

Record = tuple[str, Mapping[str, Any]]
LONGEST_CELL = 2**31 - 1
SCRIPTLESS_DATASETS = 4
"""The first major version of ``datasets`` that runs no script of a data set."""


def read_records(source: str, split: str = "train", revision: str | None = None, what: str = "data") -> list[Record]:
    """All records of a source with their places (``line 3``, ``row 2``).

    Args:
        source: a .jsonl, .json, .csv or .parquet file, a folder of a data set, or a hub id.
        split: split of a folder or a hub data set.
        revision: hub revision.
        what: the source as messages name it, e.g. ``"preferences"``.

    Lone surrogates in texts are replaced by U+FFFD, and a ``NormalisedTextWarning`` has their number.

    Raises:
        ConfigError: there is no such source, or it cannot be read; the message names the file and the line.
        MissingExtraError: the ``datasets`` package is needed and not installed.
    """
    rows = _read(source, split, revision, what)
    changed = [(place, *normalised_json(dict(record))) for place, record in rows]
    tell_normalised(sum(count for _, _, count in changed), f"{what} {source}")
    return [(place, record) for place, record, _ in changed]


def _read(source: str, split: str, revision: str | None, what: str) -> list[Record]:
    path = Path(source).expanduser()
    if path.suffix in (".jsonl", ".json", ".csv", ".parquet") and not path.is_file():
        raise ConfigError(f"{what}: there is no file {source}")
    try:
        if path.suffix == ".jsonl":
            return _json_lines(path, what)
        if path.suffix == ".json":
            return _json_list(path, what)
        if path.suffix == ".csv":
            return _csv_lines(path, what)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {source} cannot be read: {error}") from None
    return _through_datasets(path, source, split, revision, what)


def _json_lines(path: Path, what: str) -> list[Record]:
    rows: list[Record] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            rows.append((f"line {number}", _object(line, f"{what} {path}, line {number}")))
    return rows


def _json_list(path: Path, what: str) -> list[Record]:
    try:
        items = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what} {path} is not JSON: {error}") from None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ConfigError(f"{what} {path} must contain a list of objects; for one object per line use a .jsonl file")
    return [(f"item {i}", item) for i, item in enumerate(items, 1)]


def _csv_lines(path: Path, what: str) -> list[Record]:
    """All cells as strings, an empty cell as None; types are not guessed, so "4" and "NA" stay strings."""
    rows: list[Record] = []
    csv.field_size_limit(LONGEST_CELL)  # the default limit is below the length of long responses
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for record in reader:
                if None in record or None in record.values():
                    raise ConfigError(
                        f"{what} {path}, line {reader.line_num}: the row does not have the "
                        f"{len(reader.fieldnames or ())} cells of the first line; quote cells that contain commas"
                    )
                rows.append((f"line {reader.line_num}", {name: cell or None for name, cell in record.items()}))
        except csv.Error as error:
            raise ConfigError(f"{what} {path}, line {reader.line_num} is not CSV: {error}") from None
    return rows


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON: {error}; correct or remove the line") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected one object with named columns, got {text[:40]!r}")
    return value


def _through_datasets(path: Path, source: str, split: str, revision: str | None, what: str) -> list[Record]:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(f"reading {source} needs the package datasets: pip install 'fdiv-gym[train]'") from None
    if int(datasets.__version__.partition(".")[0]) < SCRIPTLESS_DATASETS:
        raise ConfigError(
            f"datasets {datasets.__version__} can run scripts of a data set: "
            f"pip install 'datasets>={SCRIPTLESS_DATASETS}'"
        )
    try:
        if path.suffix == ".parquet":
            data = datasets.load_dataset("parquet", data_files=str(path), split="train")
        elif (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
            data = datasets.load_from_disk(str(path))
            data = data[split] if isinstance(data, datasets.DatasetDict) else data
        else:
            data = datasets.load_dataset(str(path) if path.is_dir() else source, split=split, revision=revision)
    except Exception as error:  # datasets raises errors of its own, of pyarrow, of the hub and of Python
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ConfigError(
            f"{what} {source} (split {split!r}) cannot be loaded: {reason}; "
            "give a file, a folder or a hub id that is reachable from here"
        ) from None
    return [(f"row {i}", record) for i, record in enumerate(data, 1)]
