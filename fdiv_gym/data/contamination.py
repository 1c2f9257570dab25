"""Contamination: evaluation problems that are also training problems."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from fdiv_gym.types.task import Task

#: Characters that may differ between two copies of a text. Mathematical signs are kept: 1+2 and 1-2 are
#: different problems, and so are 5! and 5, 1-(2-3) and (1-2)-3, 1.5 and 15.
PUNCTUATION = frozenset(";:?'\"`{}$" + "\u2018\u2019\u201c\u201d")
_STOPS = re.compile(r"(?<![0-9])[.,]|[.,](?![0-9])|(?<![0-9)}\]])!")


def content_hash(text: str) -> str:
    """A hash of the words of a text, independent of case, spaces, punctuation and Unicode forms."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(" " if c in PUNCTUATION else c for c in _STOPS.sub(" ", plain))
    return hashlib.sha256(" ".join(kept.split()).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def task_content_hash(task: Task) -> str:
    """The content hash of a task: ``task.data["content_hash"]`` if it has one, else of its prompt.

    An environment that wraps problems in a template stores the hash of the bare problem there, so that the
    same problem is recognised under another template.
    """
    known = task.data.get("content_hash")
    return known if isinstance(known, str) else content_hash(task.text)


@dataclass(frozen=True)
class Contamination:
    """Problems that are among both the training and the evaluation tasks.

    Args:
        shared: content hashes, in the order of the training tasks.
        train_tasks: training tasks compared.
        evaluation_tasks: evaluation tasks compared.
    """

    shared: tuple[str, ...]
    train_tasks: int
    evaluation_tasks: int

    def __str__(self) -> str:
        return (
            f"{len(self.shared)} of {self.train_tasks} training tasks are also among "
            f"the {self.evaluation_tasks} evaluation tasks"
        )


def find_contamination(train: Iterable[Task], evaluation: Iterable[Task]) -> Contamination:
    """Compare training with evaluation tasks by content."""
    train, evaluation = list(train), list(evaluation)
    known = {task_content_hash(task) for task in evaluation}
    shared = dict.fromkeys(key for task in train if (key := task_content_hash(task)) in known)
    return Contamination(tuple(shared), len(train), len(evaluation))
