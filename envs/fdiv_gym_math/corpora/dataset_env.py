"""math/Dataset-v0: problems and reference answers from the columns of any data set."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic

import fdiv_gym as fg
from fdiv_gym.data import Contamination, content_hash, task_content_hash
from fdiv_gym.envs import Split
from fdiv_gym.registry import check_verdict, verified_by
from fdiv_gym.rewards import AnswerFormat, Extracted, extract, in_form, reference_answer, without_quoted_boxes
from fdiv_gym_math.corpora.loading import FORMATS, Source, column, is_single_file, read_rows, text_of

TEMPLATE = "{problem}\n\nReason step by step, and put your final answer within \\boxed{}."
SHARES = 10_000

log = logging.getLogger(__name__)


class DatasetEnv(fg.TextEnv):
    """Problems with reference answers, judged by a verifier.

    The two splits have no problem in common: a problem of both is removed from training, logged once and
    kept in ``contamination``. A response scores 1 or 0, or has no score if the verifier cannot decide.

    Attributes:
        contamination: training problems that were also among the held-out ones or those of ``exclude``;
            None before the training tasks are read.

    Raises:
        ConfigError: an option is unknown or has a wrong value.
    """

    class Options(fg.TextEnv.Options):
        """Source, columns and prompt of the problems."""

        source: str = ""
        """A .parquet, .jsonl, .json or .csv file, a folder of them, or a hub id."""
        subset: str = ""
        """A folder inside the source; on the hub, a configuration."""
        revision: str | None = None
        """Commit, tag or branch of the hub repository."""
        train_split: str = "train"
        """Files of this name hold the training problems; empty: the set is for evaluation only."""
        heldout_split: str = "test"
        """Files of this name hold the held-out problems; empty: a share of the training file is held out."""
        heldout_fraction: float = pydantic.Field(0.1, gt=0, lt=1)
        """That share, chosen by a hash of the problem; also used if the source is a single file."""
        prompt_column: str = "problem"
        """Column of the problem: a text, or a list of chat messages, of which the last one of the user is used."""
        answer_column: str = "answer"
        """Column of the reference; dots lead into nested records."""
        answer_format: Literal["plain", "solution"] = "plain"
        """``solution``: the reference is a worked solution whose last box or ``####`` line is the answer."""
        template: str = TEMPLATE
        """The prompt; ``{problem}`` is replaced by the problem, other braces are kept."""
        verifier: fg.PluginRef[fg.Verifier] = fg.PluginRef("math")
        """The verifier, by name or as a table of its name and options."""
        train_tasks: int | None = pydantic.Field(None, ge=1)
        """Largest number of training problems, taken from the start; all if unset."""
        heldout_tasks: int | None = pydantic.Field(None, ge=1)
        """Largest number of held-out problems, taken from the start; all if unset."""
        exclude: tuple[str, ...] = ()
        """Environments or files whose held-out problems must not be trained on, e.g. math/MATH500-v0."""

        @pydantic.field_validator("template")
        @classmethod
        def _has_a_place(cls, value: str) -> str:
            if "{problem}" not in value:
                raise ValueError("the template must contain {problem}")
            return value

    options: Options
    contamination: Contamination | None = None
    _verifier: fg.Verifier | None = None

    @property
    def verifier(self) -> fg.Verifier:
        """The verifier, built at first use."""
        if self._verifier is None:
            self._verifier = self.options.verifier.build()
        return self._verifier

    def tasks(self, split: Split) -> Sequence[fg.Task]:
        """The problems of one split, each once, in the order of the files.

        Raises:
            EnvError: the data cannot be found or read; the message names the files to fetch and the folder for them.
        """
        o = self.options
        _ = self.verifier  # a wrong name or option raises now, not after the first rollouts
        if split == "heldout":
            return self._heldout()[: o.heldout_tasks]
        if not o.train_split:
            raise fg.EnvError(
                f"{self.registered_name()!r} is for evaluation only: train on another data set, or name its "
                "training files by env.train_split"
            )
        kept = self._all("train")
        if self._is_one_table():
            kept = [task for task in kept if not self._is_held_out(task)]
        return self._clean(kept)[: o.train_tasks]

    def score(self, task: fg.Task, response: str) -> fg.Verdict:
        """1 for an answer equal to the reference, else 0."""
        own = self._own(task, response)
        verdict = check_verdict(self.verifier, self.verifier.verify(task.answer or "", own))
        return self._unless_echoed(task, own, verdict)

    def score_batch(self, tasks: Sequence[fg.Task], responses: Sequence[str]) -> list[fg.Verdict]:
        """Score many responses in one call, in the verifier's workers."""
        responses = [self._own(task, text) for task, text in zip(tasks, responses, strict=True)]
        verdicts = verified_by(self.verifier, [task.answer or "" for task in tasks], responses)
        return [self._unless_echoed(*each) for each in zip(tasks, responses, verdicts, strict=True)]

    def reference_response(self, task: fg.Task) -> str:
        """The reference in a box, or in the form of the verifier's extraction."""
        return in_form(reference_answer(task.answer or ""), self._extraction())

    def vote(self, task: fg.Task, response: str) -> str | None:
        """The extracted answer without its spaces."""
        found = self._extract(without_quoted_boxes(response, task.text))
        answer = found.answer or found.joined
        return "".join(answer.split()) or None

    def close(self) -> None:
        """Close the verifier."""
        if self._verifier is not None:
            self._verifier.close()

    # ---- reading ----------------------------------------------------------------------------------

    def _own(self, task: fg.Task, response: str) -> str:
        """The response without boxes and nouns of the question."""
        own = without_quoted_boxes(response, task.text)
        return self.verifier.without_nouns(task.text, task.answer or "", own)

    def _unless_echoed(self, task: fg.Task, response: str, verdict: fg.Verdict) -> fg.Verdict:
        # The verifier accepts 2^{10} for 1024, but does not receive the question, which may be 2^{10}.
        if verdict.score and self.verifier.repeats_question(task.text, task.answer or "", response):
            return fg.Verdict.scored(0.0, "the answer repeats the question")
        return verdict

    def _extraction(self) -> AnswerFormat:
        found: AnswerFormat = getattr(self.verifier.options, "extraction", "boxed")
        return found

    def _extract(self, response: str) -> Extracted:
        strict = bool(getattr(self.verifier.options, "strict", False))
        return extract(response, self._extraction(), not strict)

    def _source(self) -> Source:
        o = self.options
        if not o.source:
            raise fg.EnvError(
                f"{self.registered_name()!r} needs env.source: a .parquet, .jsonl, .json or .csv file, "
                "a folder of them, or a hub id"
            )
        return Source(o.source, o.subset, o.revision, type(self).__name__)

    def _is_one_table(self) -> bool:
        """Whether both splits come from one table."""
        o = self.options
        return bool(o.train_split) and (not o.heldout_split or is_single_file(self._source(), o.heldout_split))

    def _heldout(self) -> list[fg.Task]:
        if self._is_one_table():
            return [task for task in self._all("train") if self._is_held_out(task)]
        return self._all("heldout")

    def _is_held_out(self, task: fg.Task) -> bool:
        return int(task_content_hash(task), 16) % SHARES < self.options.heldout_fraction * SHARES

    def _all(self, split: Split) -> list[fg.Task]:
        o = self.options
        names = (o.train_split, o.heldout_split)
        rows = read_rows(self._source(), *(names if split == "train" else names[::-1]))
        made = [task for where, row in rows if (task := self._task(row, f"{o.source}: {where}")) is not None]
        if len(made) < len(rows):
            missing = len(rows) - len(made)
            log.warning("%s: %d rows of %s without an answer or a problem are left out", o.source, missing, split)
        first: dict[str, fg.Task] = {}
        for task in made:
            first.setdefault(task_content_hash(task), task)
        self._report_repeats(made, first, split)
        tasks = list(first.values())
        self._report_references(tasks, split)
        return tasks

    def unjudgeable(self, tasks: Sequence[fg.Task]) -> dict[str, str]:
        """The references among ``tasks`` with which no answer can be compared, and why; they give no score."""
        references = list(dict.fromkeys(task.answer or "" for task in tasks))
        reasons = zip(references, self.verifier.unjudgeable(references), strict=True)
        return {reference: reason for reference, reason in reasons if reason}

    def _report_references(self, tasks: Sequence[fg.Task], split: Split) -> None:
        found = self.unjudgeable(tasks)
        if found:
            log.warning(
                "%s: no answer can be compared with %d references (%s, for example %r: %s); their tasks give no score, "
                "and fdiv-gym check environment lists them",
                self.options.source, len(found), split, *next((text[:60], why) for text, why in found.items()),
            )  # fmt: skip

    def _report_repeats(self, made: Sequence[fg.Task], first: Mapping[str, fg.Task], split: Split) -> None:
        if len(first) == len(made):
            return
        other = [task for task in made if first[task_content_hash(task)].answer != task.answer]
        log.warning(
            "%s: %d rows of %s repeat a problem and are left out%s", self.options.source, len(made) - len(first), split,
            f"; {len(other)} of them have another answer, for example {other[0].text[:60]!r}" if other else "",
        )  # fmt: skip

    def _task(self, row: Mapping[str, Any], where: str) -> fg.Task | None:
        o = self.options
        problem = text_of(column(row, o.prompt_column, where), f"{where}, column {o.prompt_column!r}")
        reference = text_of(column(row, o.answer_column, where), f"{where}, column {o.answer_column!r}").strip()
        if not problem.strip() or not reference:
            return None
        answer = reference_answer(reference) if o.answer_format == "solution" else reference
        prompt = o.template.replace("{problem}", problem)
        return fg.Task(prompt, answer, {"content_hash": content_hash(problem)})

    def _clean(self, train: list[fg.Task]) -> list[fg.Task]:
        """Training tasks without those that an evaluation uses; the removed ones are logged."""
        evaluation = [*self._heldout(), *(task for name in self.options.exclude for task in self._others(name))]
        known = {task_content_hash(task) for task in evaluation}
        clean = [task for task in train if task_content_hash(task) not in known]
        shared = tuple(task_content_hash(task) for task in train if task_content_hash(task) in known)
        self.contamination = Contamination(shared, len(train), len(evaluation))
        if shared:
            log.warning("%s: %s; they are left out of training", self.options.source, self.contamination)
        return clean

    def _others(self, name: str) -> Sequence[fg.Task]:
        if Path(name).suffix in FORMATS or Path(name).exists():
            o = self.options
            own = {"source": name, "prompt_column": o.prompt_column, "answer_column": o.answer_column}
            return DatasetEnv(**own, train_split="", answer_format=o.answer_format).task_list("heldout")
        return fg.make(name).task_list("heldout")
