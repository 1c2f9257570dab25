"""Reading preference data: records with the place they stand at, and the units they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdiv_gym.errors import ConfigError, MissingExtraError, near_miss
from fdiv_gym.preferences import Message, PreferencesConfig, PreferenceUnit, Prompt

Record = tuple[str, Mapping[str, Any]]
LABELS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
FILE_FORMATS = {".csv": "csv", ".parquet": "parquet"}


class InvalidRowError(ValueError):
    """A row that holds no unit; the message is the reason under which it is counted."""


def read_rows(config: PreferencesConfig) -> list[Record]:
    """All records with their places (``line 3``, ``row 2``).

    Raises:
        ConfigError: nothing there, or a file that cannot be read.
        MissingExtraError: the ``datasets`` package is needed and not installed.
    """
    path = Path(config.path).expanduser()
    if path.suffix in (".jsonl", ".json", *FILE_FORMATS) and not path.is_file():
        raise ConfigError(f"preferences: there is no file {config.path}")
    try:
        if path.suffix == ".jsonl":
            return _json_lines(path)
        if path.suffix == ".json":
            return _json_list(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"preferences {config.path} cannot be read: {error}") from None
    return _through_datasets(path, config)


def parse_rows(rows: Sequence[Record], config: PreferencesConfig) -> tuple[list[PreferenceUnit], list[tuple[str, str]]]:
    """The units of all valid rows, and (place, reason) of the others.

    Raises:
        ConfigError: the columns of neither a paired nor a labelled set are there.
    """
    if not rows:
        return [], []
    names = list(dict.fromkeys(name for _, record in rows for name in record))
    columns = config.columns
    if columns.responses is not None:
        needed, parse = [*columns.responses, columns.better], _numbered_pair
    elif columns.chosen in names or columns.rejected in names:
        needed, parse = [columns.chosen, columns.rejected], _pair
    else:
        needed, parse = [columns.response, columns.label], _labelled
    for name in needed:
        if name not in names:
            raise ConfigError(
                f"preferences {config.path} has no column {name!r} ({near_miss(name, names)}): name the columns in "
                "[preferences.columns], as chosen and rejected, response and label, or responses and better"
            )
    units, invalid = [], []
    for place, record in rows:
        try:
            units.append(parse(record, config))
        except InvalidRowError as error:
            invalid.append((place, str(error)))
    return units, invalid


def _pair(record: Mapping[str, Any], config: PreferencesConfig) -> PreferenceUnit:
    columns = config.columns
    chosen_prompt, chosen = _conversation(record, columns.prompt, columns.chosen)
    rejected_prompt, rejected = _conversation(record, columns.prompt, columns.rejected)
    return _checked_pair(chosen_prompt, chosen, rejected_prompt, rejected)


def _numbered_pair(record: Mapping[str, Any], config: PreferencesConfig) -> PreferenceUnit:
    columns = config.columns
    assert columns.responses is not None
    better = 1 if _truth(record.get(columns.better), columns.better) else 0
    chosen_prompt, chosen = _conversation(record, columns.prompt, columns.responses[better])
    rejected_prompt, rejected = _conversation(record, columns.prompt, columns.responses[1 - better])
    return _checked_pair(chosen_prompt, chosen, rejected_prompt, rejected)


def _checked_pair(chosen_prompt: Prompt, chosen: str, rejected_prompt: Prompt, rejected: str) -> PreferenceUnit:
    if chosen_prompt != rejected_prompt:
        raise InvalidRowError("the chats of both responses differ before the last turn")
    if chosen == rejected:
        raise InvalidRowError("both responses are equal")
    return PreferenceUnit(chosen_prompt, chosen, rejected)


def _labelled(record: Mapping[str, Any], config: PreferencesConfig) -> PreferenceUnit:
    columns = config.columns
    prompt, response = _conversation(record, columns.prompt, columns.response)
    good = _truth(record.get(columns.label), columns.label)
    return PreferenceUnit(prompt, response if good else None, None if good else response)


def _conversation(record: Mapping[str, Any], prompt_column: str, response_column: str) -> tuple[Prompt, str]:
    """Prompt and response; a response given as a chat of several turns brings its own prompt."""
    value = record.get(response_column)
    before: tuple[Message, ...] = ()
    if isinstance(value, str):
        response = value
    else:
        *turns, last = _messages(value, response_column)
        if last.role != "assistant":
            raise InvalidRowError(f"the last message of {response_column!r} is not the assistant's")
        response, before = last.content, tuple(turns)
    if not response:
        raise InvalidRowError(f"{response_column!r} is empty")
    given = record.get(prompt_column)
    if before:
        return before, response
    if given is None:
        raise InvalidRowError(f"no {prompt_column!r}, and {response_column!r} is no chat that contains one")
    if isinstance(given, str):
        return given, response
    return _messages(given, prompt_column), response


def _messages(value: Any, column: str) -> tuple[Message, ...]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)) or not value:
        raise InvalidRowError(f"{column!r} is neither a text nor a list of messages")
    messages = []
    for item in value:
        role, content = (item.get("role"), item.get("content")) if isinstance(item, Mapping) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str):
            raise InvalidRowError(f"{column!r} holds a message without role or content")
        messages.append(Message(role, content))
    return tuple(messages)


def _truth(value: Any, column: str) -> bool:
    answer = LABELS.get(str(value).strip().lower())
    if answer is None:
        raise InvalidRowError(f"{column!r} is neither true/false nor 1/0")
    return answer


def _json_lines(path: Path) -> list[Record]:
    rows: list[Record] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if line.strip():
            rows.append((f"line {number}", _object(line, f"{path}, line {number}")))
    return rows


def _json_list(path: Path) -> list[Record]:
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"preferences {path} is not JSON: {error}") from None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ConfigError(f"preferences {path} must hold a list of objects; one object a line belongs in a .jsonl file")
    return [(f"item {i}", item) for i, item in enumerate(items, 1)]


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"preferences {where} is not JSON: {error}; mend or remove the line") from None
    if not isinstance(value, dict):
        raise ConfigError(f"preferences {where}: expected one object with named columns, got {text[:40]!r}")
    return value


def _through_datasets(path: Path, config: PreferencesConfig) -> list[Record]:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(
            f"reading {config.path} needs the package datasets: pip install 'fdiv-gym[train]'"
        ) from None
    try:
        if path.suffix in FILE_FORMATS:
            data = datasets.load_dataset(FILE_FORMATS[path.suffix], data_files=str(path), split="train")
        elif (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
            data = datasets.load_from_disk(str(path))
            data = data[config.split] if isinstance(data, datasets.DatasetDict) else data
        else:
            source = str(path) if path.is_dir() else config.path
            data = datasets.load_dataset(source, split=config.split, revision=config.revision)
    except Exception as error:  # datasets raises its own errors, pyarrow's, the hub's and plain ones
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ConfigError(
            f"preferences {config.path} (split {config.split!r}) cannot be loaded: {reason}; "
            "give a file, a folder or a hub id that is reachable from here"
        ) from None
    return [(f"row {i}", record) for i, record in enumerate(data, 1)]
