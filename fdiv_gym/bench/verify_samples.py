"""Checks of a bundle's samples: rewards by the environments' own verifiers, and from them the records' metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fdiv_gym.bench.bundle_files import AFTER, GZIPPED, RECORDS, TASKS, UNTRAINED, Bundle, samples_name
from fdiv_gym.bench.bundle_inputs import Inputs
from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.controls import control_seeds, untrained_folders, untrained_of
from fdiv_gym.bench.evaluated import OF_TASK, Sample, ungrouped
from fdiv_gym.bench.labels import slug
from fdiv_gym.bench.rebuilt import Rebuilt
from fdiv_gym.bench.record import Record
from fdiv_gym.bench.redaction import Redaction
from fdiv_gym.bench.verified import Findings
from fdiv_gym.envs.base import Environment
from fdiv_gym.errors import BenchError
from fdiv_gym.evaluation import rescore_samples, task_of
from fdiv_gym.evaluation.metrics import Sample as Scored
from fdiv_gym.evaluation.metrics import default_ks, mean_metrics, response_means, summarise, task_values
from fdiv_gym.evaluation.temperatures import best_of
from fdiv_gym.registry.guard import score_range_of, vote_of

FROM_SAMPLES = ("score/", "env/", "episode/", "unscored", "response_tokens")
"""Metrics of an evaluation that follow from its samples."""


class SampleChecks:
    """Checks the samples of a bundle, environment by environment.

    Args:
        bundle: the bundle.
        inputs: its matrix and records.
        rebuilt: the environments that may be built here.
        left_out: the files that the manifest says were left out.
        findings: takes what disagrees.
    """

    def __init__(
        self, bundle: Bundle, inputs: Inputs, rebuilt: Rebuilt, left_out: Mapping[str, Any], findings: Findings
    ) -> None:
        self._bundle, self._inputs, self._rebuilt = bundle, inputs, rebuilt
        self._left_out, self._findings, self._redaction = left_out, findings, Redaction(here=False)
        self._names = set(bundle.names())
        self._tasks: dict[str, dict[str, dict[str, Any]] | None] = {}
        self._used: dict[str, set[str]] = {}

    # ---- tasks -------------------------------------------------------------------------------------

    def _tasks_of(self, label: str) -> dict[str, dict[str, Any]] | None:
        """The tasks of an environment by their hash; None if they were left out."""
        if label not in self._tasks:
            self._tasks[label] = self._read_tasks(f"{TASKS}/{slug(label)}{GZIPPED}")
        return self._tasks[label]

    def _read_tasks(self, name: str) -> dict[str, dict[str, Any]] | None:
        if name in self._left_out:
            self._findings.note(f"{name} was left out of the bundle: no sample of its tasks was checked")
            return None
        found = {}
        for number, line in enumerate(self._bundle.lines(name), 1):
            place = f"line {number}"
            if line.keys() != {"task_hash", *OF_TASK} or task_of(line) is None:
                self._findings.problem(name, "the task does not match its hash", place)
            elif line["task_hash"] in found:
                self._findings.problem(name, "the task is there twice", place)
            found[str(line.get("task_hash"))] = line
        return found

    def check_unused_tasks(self) -> None:
        """Every task of the bundle is one of a sample, or of a file that was left out."""
        for entry in self._inputs.matrix.environments:
            tasks = self._tasks.get(entry.label)
            unused = [key for key in tasks or {} if key not in self._used.get(entry.label, set())]
            if unused and not self._left_out:
                self._findings.problem(f"{TASKS}/{slug(entry.label)}{GZIPPED}", "no sample is of this task", unused[0])

    # ---- the samples of one evaluation -----------------------------------------------------------

    def _samples(self, name: str, label: str, step: int | None) -> list[Sample] | None:
        """The samples of a file; None if they were left out."""
        if name in self._left_out:
            self._findings.count("evaluations left out")
            return None
        if name not in self._names:
            self._findings.problem(name, "it is missing, and the manifest does not say that it was left out")
            return None
        tasks = self._tasks_of(label)
        if tasks is None:
            return None
        try:
            found = list(ungrouped(self._bundle.lines(name), tasks, step))
        except BenchError as error:
            self._findings.problem(name, str(error))
            return None
        self._used.setdefault(label, set()).update(sample["task_hash"] for sample in found)
        return found

    def _check_places(
        self, name: str, samples: Sequence[Sample], label: str, counts: Mapping[str, int], first: int, most: int | None
    ) -> None:
        """Which tasks were evaluated, and how often: as the configuration says, and as the environment has them.

        Args:
            name: of the file.
            samples: of it.
            label: of the environment.
            counts: responses to each task by mode.
            first: place of the first evaluated task among the held-out ones.
            most: largest number of tasks.
        """
        expected = self._rebuilt.tasks(label, first, most)
        for mode, count in counts.items():
            found: dict[int, list[str]] = {}
            for sample in samples:
                if sample["mode"] == mode:
                    found.setdefault(sample["index"], []).append(sample["task_hash"])
            if sorted(found) != list(range(len(found))) or not found:
                self._findings.problem(name, "its tasks are not numbered from 0 without a gap", mode)
            for index, hashes in found.items():
                if len(hashes) != count or len(set(hashes)) != 1:
                    self._findings.problem(name, f"{len(hashes)} responses instead of {count}", f"{mode} task {index}")
                elif expected is not None and index < len(expected) and hashes[0] != expected[index]:
                    self._findings.compare(name, hashes[0], expected[index], f"{mode} task {index}: task_hash")
            if expected is not None and len(found) != len(expected):
                self._findings.compare(name, len(found), len(expected), f"{mode}: number of tasks")
        strange = {sample["mode"] for sample in samples} - counts.keys()
        if strange:
            self._findings.problem(name, f"unexpected samples of mode {min(strange)}")

    def _check_rewards(self, name: str, samples: Sequence[Sample], env: Environment) -> None:
        """Compare verdicts and votes with those of the environment."""
        again = rescore_samples(env, samples)
        for sample, verdict in zip(again.records, again.verdicts, strict=True):
            new = verdict.to_dict()
            new["detail"] = self._redaction.text(str(new.get("detail", "")))
            key = f"{sample['mode']} task {sample['index']} response {sample['sample']}"
            self._findings.compare(name, dict(sample["verdict"]), new, f"{key}: verdict")
        for sample in samples:
            key = f"{sample['mode']} task {sample['index']} response {sample['sample']}: vote"
            task = task_of(sample)
            if task is not None:
                self._findings.compare(name, sample["vote"], vote_of(env, task, sample["response"]), key)
        for why, number in again.refused.items():
            self._findings.note(f"{name}: {number} samples were not scored again: those {why}")
        scored = {id(sample) for sample in again.records}
        for sample in samples:
            if id(sample) not in scored and sample["verdict"]["score"] is not None:
                key = f"{sample['mode']} task {sample['index']} response {sample['sample']}: verdict.score"
                self._findings.problem(name, "a response that cannot be scored has a score", key)
        self._findings.count("rewards", len(again.records))

    # ---- cells ------------------------------------------------------------------------------------

    def check_cell(self, name: str, cell: Cell, record: Record) -> None:
        """Compare a record, and ``after.json``, with the samples of the cell."""
        after = self._inputs.after.get(name)
        if after is not None:
            self._check_after(name, record, after)
        elif cell.kind == "table" and record.status == "done" and self._inputs.matrix.controls.reads_after:
            self._findings.problem(AFTER, "it lacks a cell that is done", name)
        if record.status != "done" or record.budget is None or not record.tasks:
            return
        file, options = samples_name(name), cell.config.trainer.checked_options
        samples = self._samples(file, cell.environment, record.budget.steps)
        if samples is None:
            return
        counts = {"sampled": getattr(options, "evaluate_samples", 1), "greedy": 1}
        first, most = getattr(options, "evaluate_skip", 0), getattr(options, "evaluate_tasks", None)
        self._check_places(file, samples, cell.environment, counts, first, most)
        env = self._rebuilt.environment(cell.environment)
        if env is not None:
            self._check_rewards(file, samples, env)
        self._check_metrics(name, cell, record, samples, env)
        if after is not None:
            tokens = [sample["tokens"] for sample in samples if sample["mode"] == "sampled"]
            self._findings.compare(AFTER, after.get("tokens"), tokens, f"{name}: tokens")

    def _check_after(self, name: str, record: Record, after: Any) -> None:
        if not isinstance(after, Mapping):
            self._findings.problem(AFTER, "it is no object", name)
            return
        self._findings.compare(AFTER, after.get("key"), record.key, f"{name}: key")
        responses = sum(len(scores) for scores in record.tasks.values())
        for column in ("tokens", "log_ratio", "entropy"):
            values = after.get(column)
            if not isinstance(values, list) or len(values) != responses or not all(map(_is_number, values)):
                self._findings.problem(AFTER, f"it does not have {responses} numbers", f"{name}: {column}")
        if after.keys() != {"key", "tokens", "log_ratio", "entropy"}:
            self._findings.problem(AFTER, "unknown keys", name)

    def _check_metrics(
        self, name: str, cell: Cell, record: Record, samples: Sequence[Sample], env: Environment | None
    ) -> None:
        """Final metrics and the scores by task."""
        file = f"{RECORDS}/{cell.kind}{GZIPPED}"
        scores: dict[str, list[float | None]] = {}
        for sample in samples:
            if sample["mode"] == "sampled":
                place = f"{sample['index']}-{sample['task_hash']}"
                scores.setdefault(place, []).append(sample["verdict"]["score"])
        self._findings.compare(file, dict(record.tasks), scores, f"{name}: tasks")
        assert record.final is not None
        found = {key: value for key, value in record.final.items() if key.startswith(FROM_SAMPLES)}
        others = sorted({key.partition("/")[0] for key in record.final if key not in found})
        if others:
            self._findings.note(f"metrics of evaluations that need the model were not recomputed: {', '.join(others)}")
        if env is None:
            metrics = response_means(samples)
            found = {key: value for key, value in found.items() if key in metrics}
        else:
            metrics = mean_metrics(env, samples)
        expected = {key: None if math.isnan(value) else value for key, value in metrics.items()}
        self._findings.compare(file, found, expected, f"{name}: final")
        self._findings.count("metrics", len(expected))

    # ---- the untrained model -------------------------------------------------------------------

    def check_untrained(self, table: Sequence[Cell]) -> None:
        """Make every ``untrained.json`` again from its samples, and compare it."""
        matrix, switches = self._inputs.matrix, self._inputs.matrix.controls
        folders = untrained_folders(matrix) if switches.untrained else {}
        expected = {folder.rpartition("/")[2]: labels for labels, folder in folders.items()}
        for name in self._inputs.untrained.keys() - expected.keys():
            self._findings.problem(f"{UNTRAINED}/{name}.json", "the matrix asks for no such evaluation")
        for name, (environment, model) in expected.items():
            done = [cell for cell in table if (cell.environment, cell.model) == (environment, model)]
            if name in self._inputs.untrained:
                with self._findings.about(f"{UNTRAINED}/{name}.json"):
                    self._check_untrained(name, environment, model, done[0])
            elif any(self._inputs.records[c.folder].status == "done" for c in done if c.folder in self._inputs.records):
                self._findings.problem(f"{UNTRAINED}/{name}.json", "it is missing")

    def _check_untrained(self, name: str, environment: str, model: str, cell: Cell) -> None:
        switches = self._inputs.matrix.controls
        folder, env = f"controls/{name}", self._rebuilt.environment(environment)
        most = getattr(cell.config.trainer.checked_options, "evaluate_tasks", None)
        rows = []
        for temperature in (0.0, *switches.temperatures):
            own = "greedy" if temperature == 0.0 else f"temperature-{_shortest(temperature)}"
            mode, count = ("greedy", 1) if temperature == 0.0 else ("sampled", switches.samples)
            file = samples_name(f"{folder}/{own}")
            samples = self._samples(file, environment, None)
            if samples is None or env is None:
                self._findings.note(
                    f"{UNTRAINED}/{name}.json was not recomputed: its samples or environment are missing"
                )
                return
            self._check_places(file, samples, environment, {mode: count}, 0, most)
            self._check_rewards(file, samples, env)
            ks = [1] if temperature == 0.0 else default_ks(count)
            low, high = score_range_of(env)
            groups = _by_task(samples)
            values = task_values(groups, ks, high, low)
            seed = control_seeds(self._inputs.matrix)[0]
            metrics = {metric: summarise(column, seed).to_dict() for metric, column in values.items()}
            rows.append({"temperature": temperature, "metrics": metrics})
        expected = untrained_of({"evaluations": rows, "best": best_of(rows)})
        found = dict(self._inputs.untrained[name])
        found.pop("key", None)
        self._findings.compare(
            f"{UNTRAINED}/{name}.json", found, {"environment": environment, "model": model, **expected}
        )


def _by_task(samples: Sequence[Sample]) -> list[list[Scored]]:
    groups: dict[int, list[Scored]] = {}
    for sample in samples:
        groups.setdefault(sample["index"], []).append(Scored(sample["verdict"]["score"], sample["vote"]))
    return list(groups.values())


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _shortest(temperature: float) -> str:
    short = f"{temperature:g}"
    return short if float(short) == temperature else repr(temperature)
