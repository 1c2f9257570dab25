"""Tables of samples for the trackers that take them."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fdiv_gym as fg

COLUMNS = ("prompt", "response", "score", "status", "turns", "truncated", "stop reason", "tokens")
NAME = "samples/train"
"""Of the table in every tracker."""


def rows_of(samples: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """One row for each sample record, see ``COLUMNS``; a response without a score has None there.

    Of several turns, ``prompt`` and ``response`` hold all messages before the first response and from it on, each
    behind its role.
    """
    return [
        [
            *_said(s), s["verdict"]["score"], s["verdict"]["status"], s["turns"], s["truncated"], s["stop_reason"],
            s["tokens"],
        ]
        for s in samples
    ]  # fmt: skip


def _said(sample: Mapping[str, Any]) -> tuple[str, str]:
    """What stands before the first response, and what was said from it on."""
    transcript = fg.Transcript.from_dict(sample["transcript"])
    begin, rest = transcript.messages[: transcript.opening], transcript.messages[transcript.opening :]
    before = begin[0].content if len(begin) == 1 else _roles(begin)
    return before, transcript.response if len(rest) <= 1 else _roles(rest)


def _roles(messages: Sequence[fg.Message]) -> str:
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)


def markdown_table(rows: Sequence[Sequence[Any]]) -> str:
    """A table as TensorBoard shows it; text of prompts and responses is never read as Markdown or HTML."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    text = html.escape("" if value is None else str(value))
    for character in "\\`*_[]|~":
        text = text.replace(character, f"&#{ord(character)};")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "<br>")


def _tensorboard(tracker: Any, rows: list[list[Any]], step: int) -> None:
    tracker.writer.add_text(NAME, markdown_table(rows), global_step=step)
    tracker.writer.flush()


def _wandb(tracker: Any, rows: list[list[Any]], step: int) -> None:
    tracker.log_table(NAME, columns=list(COLUMNS), data=rows, step=step)


def _trackio(tracker: Any, rows: list[list[Any]], step: int) -> None:
    import pandas
    import trackio

    tracker.log({NAME: trackio.Table(dataframe=pandas.DataFrame(rows, columns=list(COLUMNS)))}, step=step)


def _mlflow(tracker: Any, rows: list[list[Any]], step: int) -> None:
    import mlflow

    columns = {"step": [step] * len(rows)} | {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
    mlflow.log_table(columns, artifact_file=f"{NAME}.json")  # appends to the table of earlier steps


WRITERS: Mapping[str, Callable[[Any, list[list[Any]], int], None]] = {
    "tensorboard": _tensorboard, "wandb": _wandb, "trackio": _trackio, "mlflow": _mlflow,
}  # fmt: skip


def without_tables(trackers: Sequence[Any]) -> list[str]:
    """The names of the trackers that get no tables."""
    return sorted({str(tracker.name) for tracker in trackers} - set(WRITERS))


def send_samples(tracker: Any, samples: Sequence[Mapping[str, Any]], step: int) -> None:
    """Send sample records as a table to a tracker, if it takes one; called by the main process only."""
    rows = rows_of(samples)
    if rows and tracker.name in WRITERS:
        WRITERS[tracker.name](tracker, rows, step)
