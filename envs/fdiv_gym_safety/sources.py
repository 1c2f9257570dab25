"""Sources of prompts: any table with a prompt column, local or from the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import pydantic

import fdiv_gym as fg
from fdiv_gym.data import read_records


class PromptSource(fg.Options):
    """One table of prompts and its columns."""

    path: str
    """A .jsonl, .json, .csv or .parquet file, a folder of a data set, or a hub id."""
    split: str = "train"
    """Split of a folder or a hub data set."""
    revision: str | None = None
    """Hub revision."""
    prompt: str = "prompt"
    """Column of the prompts."""
    harmful: bool | str = False
    """Whether the prompts are harmful: true or false for all of them, or the name of a column."""
    harmful_values: tuple[str, ...] = ("true", "1", "unsafe", "harmful", "yes")
    """Values (case-insensitive) of that column that mean harmful; any other means harmless."""
    limit: int | None = pydantic.Field(None, ge=1)
    """Largest number of different prompts to read."""


def read_tasks(source: PromptSource) -> list[fg.Task]:
    """One task for each different prompt of a source.

    Raises:
        ConfigError: no such file or column, an empty or non-text prompt, a prompt with two labels, or no
            prompt at all.
    """
    tasks: dict[str, fg.Task] = {}
    for place, record in read_records(source.path, source.split, source.revision, "prompts"):
        prompt = _cell(record, source.prompt, source.path, place)
        if not isinstance(prompt, str) or not prompt.strip():
            raise fg.ConfigError(f"prompts {source.path}, {place}: {source.prompt!r} is not a text, got {prompt!r}")
        harmful = source.harmful
        if isinstance(harmful, str):
            value = str(_cell(record, harmful, source.path, place)).strip().lower()
            harmful = value in {v.lower() for v in source.harmful_values}
        add_task(tasks, fg.Task(prompt, None, {"harmful": harmful}), f"prompts {source.path}, {place}")
        if len(tasks) == source.limit:
            break
    if not tasks:
        raise fg.ConfigError(f"prompts {source.path} holds no row")
    return list(tasks.values())


def add_task(tasks: dict[str, fg.Task], task: fg.Task, where: str) -> None:
    """Add a task unless its prompt is present.

    Raises:
        ConfigError: it is present with the other label.
    """
    known = tasks.setdefault(task.text, task)
    if known.data["harmful"] != task.data["harmful"]:
        labels = ("harmful", "harmless") if known.data["harmful"] else ("harmless", "harmful")
        raise fg.ConfigError(
            f"{where}: the prompt {task.text[:60]!r} is {labels[1]} here and {labels[0]} before: "
            "remove one of the two rows, or read only one of the tables"
        )


def heldout_part(contents: Iterable[str], fraction: float) -> set[str]:
    """The contents of the held-out split: the share with the smallest hashes.

    At least one of several, never all; the same on every machine and in any order.
    """
    distinct = sorted(set(contents), key=lambda c: hashlib.sha256(c.encode()).digest())
    return set(distinct[: min(max(round(fraction * len(distinct)), 1), len(distinct) - 1)])


def _cell(record: Any, column: str, path: str, place: str) -> Any:
    if column not in record:
        from fdiv_gym.errors import did_you_mean

        raise fg.ConfigError(f"prompts {path}, {place}: no column {column!r} ({did_you_mean(column, record)})")
    return record[column]
