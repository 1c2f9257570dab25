"""reasoning/<name>-v0: one data set of the package reasoning-gym."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pydantic

import fdiv_gym as fg
from fdiv_gym.envs import Split
from fdiv_gym_reasoning import comparators
from fdiv_gym_reasoning.catalogue import (
    COMPARED,
    GUARDED,
    NAMES,
    REFERENCE_IN_METADATA,
    SLOW,
    WITHOUT_REFERENCE,
)
from fdiv_gym_reasoning.source import Source, source

MAX_ANSWER = 30_000
TAG_LINE = "\n\nPut your final answer between <answer> and </answer>."
#: A set makes entry i from seed + i, so the seeds of two splits or two runs must differ by much.
STRIDE, HELDOUT_OFFSET = 1_000_000, 2_000_000_000
#: Entries tried for each requested task before a set counts as exhausted.
ATTEMPTS = 4


class ReasoningEnv(fg.TextEnv):
    """One data set. A right answer scores 1, any other 0; partial scores of the package count as 0.

    The package is imported at the first ``reset``. Entries whose reference answer the scorer rejects are
    left out, as are training entries whose question is also a held-out one.

    Raises:
        ConfigError: an option is unknown or has a wrong value.
    """

    class Options(fg.TextEnv.Options):
        """The set, its size and its difficulty."""

        dataset: Literal[NAMES] = "chain_sum"  # type: ignore[valid-type]
        """The name in reasoning-gym; each ``reasoning/<name>-v0`` presets it."""
        parameters: dict[str, Any] = pydantic.Field(default_factory=dict)
        """Parameters of the set's configuration, e.g. ``{max_terms = 4}``; see reasoning-gym."""
        answer: Literal["whole", "answer-tag"] = "whole"
        """``whole``: the response is the answer; ``answer-tag``: the one text between <answer> and </answer>."""
        train_tasks: int | None = pydantic.Field(None, ge=1)
        """Largest number of training tasks; if unset 200, fewer for slow sets."""
        heldout_tasks: int = pydantic.Field(30, ge=1)
        """Largest number of held-out tasks."""
        seed: int = pydantic.Field(0, ge=0, lt=1_000)
        """Seed of the tasks of both splits."""

    options: Options

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.has_reference_response = self.options.dataset not in WITHOUT_REFERENCE  # type: ignore[misc]

    @functools.cached_property
    def source(self) -> Source:
        """The entries, shared with other environments of the same set and parameters.

        They are kept, because making an entry again for every answer takes longer than judging the answer.
        """
        o = self.options
        size = ATTEMPTS * max(self._train_tasks(), o.heldout_tasks) + 20
        return source(o.dataset, json.dumps(o.parameters, sort_keys=True), size)

    def tasks(self, split: Split) -> Sequence[fg.Task]:
        """Different questions, in the set's own order.

        Raises:
            EnvError: the set has no such parameter, or failed to make an entry.
        """
        first = self.options.seed * STRIDE
        if split == "heldout":
            return self._generated(first + HELDOUT_OFFSET, self.options.heldout_tasks, frozenset())
        known = frozenset(task.text for task in self.task_list("heldout"))
        return self._generated(first, self._train_tasks(), known)

    def score(self, task: fg.Task, response: str) -> fg.Verdict:
        """1 for a right answer, else 0; unscorable if the set gives another question for the task's seed."""
        answer = self._answer(response)
        if answer is None:
            return fg.Verdict.scored(0.0, "no answer between one pair of tags")
        if not answer or len(answer) > MAX_ANSWER or "\x00" in answer:
            return fg.Verdict.scored(0.0, "empty, too long or not text")
        entry = self.source.entry(int(task.data["seed"]), int(task.data["index"]))
        if not task.text.startswith(entry["question"]):
            return fg.Verdict.unscorable("the data set gives another question for this seed")
        return fg.Verdict.scored(float(self._is_right(answer, task, entry)))

    def reference_response(self, task: fg.Task) -> str | None:
        """The set's own answer in the declared form, if there is one."""
        if task.answer is None or self.options.answer == "whole":
            return task.answer
        return f"<answer>{task.answer}</answer>"

    def vote(self, task: fg.Task, response: str) -> str | None:
        """The answer with single spaces."""
        answer = self._answer(response)
        return " ".join(answer.split()) or None if answer is not None else None

    # ---- judging ----------------------------------------------------------------------------------

    def _is_right(self, answer: str, task: fg.Task, entry: Mapping[str, Any]) -> bool:
        name = self.options.dataset
        guard = GUARDED.get(name)
        if guard is None:
            compare: comparators.Comparator = getattr(comparators, COMPARED.get(name, "text"))
            return compare(answer, task.answer or "", entry["metadata"])
        if not guard.admits(answer):
            return False
        scorer = self.source.dataset(int(task.data["seed"]))
        try:
            # A copy: knight_swap writes into the entry.
            return float(scorer.score_answer(answer, copy.deepcopy(dict(entry)))) >= 1.0 - 1e-9
        except Exception:
            # An answer of the right form on which the scorer raises is wrong.
            return False

    def _answer(self, response: str) -> str | None:
        if self.options.answer == "whole":
            return response.strip()
        visible = response.rpartition("</think>")[2]
        if visible.count("<answer>") != 1 or visible.count("</answer>") != 1:
            return None
        before, _, after = visible.partition("<answer>")
        return None if "</answer>" in before else after.partition("</answer>")[0].strip()

    # ---- making tasks -----------------------------------------------------------------------------

    def _generated(self, seed: int, wanted: int, excluded: frozenset[str]) -> list[fg.Task]:
        found: dict[str, fg.Task] = {}
        for index in range(ATTEMPTS * wanted + 20):  # below the size given to the set
            if len(found) == wanted:
                break
            task = self._task(seed, index)
            if task is not None and task.text not in found and task.text not in excluded:
                found[task.text] = task
        return list(found.values())

    def _train_tasks(self) -> int:
        return self.options.train_tasks or SLOW.get(self.options.dataset, 200)

    def _task(self, seed: int, index: int) -> fg.Task | None:
        entry = self.source.entry(seed, index)
        answer = entry["answer"]
        key = REFERENCE_IN_METADATA.get(self.options.dataset)
        if key is not None:
            answer = entry["metadata"][key]
            answer = answer if isinstance(answer, str) else json.dumps(answer)
        prompt = entry["question"] + (TAG_LINE if self.options.answer == "answer-tag" else "")
        # Spaces and signs change a puzzle, so the whole question is its content.
        content = hashlib.sha256(entry["question"].encode()).hexdigest()[:16]
        data = {"seed": seed, "index": index, "content_hash": content}
        task = fg.Task(prompt, None if answer is None else str(answer).strip(), data)
        if self.has_reference_response and not (task.answer and self._is_right(task.answer, task, entry)):
            return None
        return task
