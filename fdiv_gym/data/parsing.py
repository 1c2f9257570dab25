"""Parsing of preference records into units: pairs, chats, labelled responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fdiv_gym.data.config import PreferencesConfig
from fdiv_gym.data.records import Record
from fdiv_gym.errors import ConfigError, did_you_mean
from fdiv_gym.types.message import Message, Prompt
from fdiv_gym.types.preference import PreferenceUnit

LABELS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


class InvalidRowError(ValueError):
    """A row without a valid unit; invalid rows are counted by the message."""


def parse_rows(rows: Sequence[Record], config: PreferencesConfig) -> tuple[list[PreferenceUnit], list[tuple[str, str]]]:
    """The units of all valid rows, and (place, reason) of the others.

    Raises:
        ConfigError: the data have the columns of neither a paired nor a labelled set.
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
                f"preferences {config.path} has no column {name!r} ({did_you_mean(name, names)}): name the columns in "
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
    """Prompt and response; a response that is a chat of several turns contains its prompt."""
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
    return before or _prompt(record.get(prompt_column), prompt_column, response_column), response


def _prompt(value: Any, column: str, response_column: str) -> Prompt:
    if value is None:
        raise InvalidRowError(f"no {column!r}, and {response_column!r} is not a chat that contains one")
    if not isinstance(value, str):
        return _messages(value, column)
    if not value:
        raise InvalidRowError(f"{column!r} is empty")
    return value


def _messages(value: Any, column: str) -> tuple[Message, ...]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)) or not value:
        raise InvalidRowError(f"{column!r} is neither a string nor a list of messages")
    messages = []
    for item in value:
        role, content = (item.get("role"), item.get("content")) if isinstance(item, Mapping) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str):
            raise InvalidRowError(f"{column!r} contains a message without role or content")
        messages.append(Message(role, content))
    return tuple(messages)


def _truth(value: Any, column: str) -> bool:
    answer = LABELS.get(str(value).strip().lower())
    if answer is None:
        raise InvalidRowError(f"{column!r} is neither true/false nor 1/0")
    return answer
