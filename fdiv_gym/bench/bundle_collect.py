"""What a bundle takes out of the folder of a bench, without what is private."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdiv_gym.bench.bundle_files import (
    AFTER,
    BENCH,
    CONFIGS,
    GZIPPED,
    MATRIX,
    PLUGINS,
    RECORDS,
    TASKS,
    TUNING,
    UNTRAINED,
    json_text,
    lines_text,
    samples_name,
    write_text,
)  # fmt: skip
from fdiv_gym.bench.bundle_inputs import cells_of_bench
from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.controls import UNTRAINED_FILE, untrained_folders
from fdiv_gym.bench.evaluated import grouped, last_evaluation, tasks_of
from fdiv_gym.bench.labels import slug
from fdiv_gym.bench.matrix import Matrix, load_matrix
from fdiv_gym.bench.process import RUN
from fdiv_gym.bench.record import Record, read_record
from fdiv_gym.bench.redaction import Redaction
from fdiv_gym.bench.run_file import toml_text
from fdiv_gym.errors import BenchError
from fdiv_gym.registry.messages import shorten
from fdiv_gym.runs.folder import PROVENANCE, RunFolder

SHOWN = 3


class Collector:
    """Copies what the bundle needs out of the folder of a bench."""

    def __init__(self, folder: Path, staging: Path) -> None:
        self._folder, self._staging, self._redaction = folder, staging, Redaction(folder)
        self._tasks: dict[str, dict[str, dict[str, Any]]] = {}
        self._plugins: dict[str, dict[str, Any]] = {}
        self._private: list[str] = []
        self._seen: dict[Path, tuple[int, int]] = {}

    def collect(self) -> list[str]:
        """Write everything but what follows from it; returns the files that hold what is private."""
        matrix = load_matrix(self._folder / MATRIX)
        tuning = self._json(self._folder / TUNING) or None
        write_text(self._staging, MATRIX, self._matrix_text())
        write_text(self._staging, BENCH, json_text(self._redaction.value(self._json(self._folder / BENCH))))
        if tuning is not None:
            write_text(self._staging, TUNING, json_text(self._redaction.value(tuning)))
        cells = cells_of_bench(matrix, tuning)
        records = self._records(cells)
        self._write_cells(cells, records, reads_after=matrix.controls.reads_after)
        self._write_untrained(matrix, [cell for name, cell in cells.items() if records[name].status == "done"])
        for label, tasks in self._tasks.items():
            lines = [tasks[key] for key in sorted(tasks)]
            self._write_evidence(f"{TASKS}/{slug(label)}{GZIPPED}", lines)
        write_text(self._staging, PLUGINS, json_text(dict(sorted(self._plugins.items()))))
        self._refuse_changes()
        return self._private

    def _matrix_text(self) -> str:
        """The file as it is, or, if something in it is private, its values without that and without comments."""
        text = (self._folder / MATRIX).read_text(encoding="utf-8")
        values = tomllib.loads(text)
        plain = self._redaction.value(values)
        return text if plain == values and self._redaction.text(text) == text else toml_text(plain)

    def _json(self, path: Path) -> dict[str, Any]:
        self._see(path)
        return RunFolder(path.parent).read_json(path.name)

    def _see(self, path: Path) -> None:
        if path.exists():
            found = path.stat()
            self._seen.setdefault(path, (found.st_size, found.st_mtime_ns))

    def _refuse_changes(self) -> None:
        for path, before in self._seen.items():
            found = path.stat()
            if (found.st_size, found.st_mtime_ns) != before:
                raise BenchError(f"{path} changed while the bundle was written: let the bench end first")

    def _records(self, cells: Mapping[str, Cell]) -> dict[str, Record]:
        found = {}
        for name, cell in cells.items():
            self._see(self._folder / name / "record.json")
            record = read_record(self._folder / name)
            if record is not None and (record.kind, record.objective, record.seed) == (
                cell.kind,
                cell.objective,
                cell.seed,
            ):
                found[name] = record
        missing = [name for name in cells if name not in found]
        if missing:
            more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            raise BenchError(
                f"{self._folder} is not finished: {', '.join(missing[:SHOWN])}{more} have no record: start the bench "
                "again"
            )
        return found

    def _write_cells(self, cells: Mapping[str, Cell], records: Mapping[str, Record], *, reads_after: bool) -> None:
        configs, after = [], []
        kinds: dict[str, list[dict[str, Any]]] = {}
        for name, cell in cells.items():
            record = records[name]
            values = self._redaction.value(record.model_dump(mode="json"))
            kinds.setdefault(cell.kind, []).append({"cell": name, "record": values})
            plugins = self._plugins_of(name, cell)
            configs.append({"cell": name, "plugins": plugins, "config": self._redaction.value(cell.config.resolved())})
            if record.status != "done":
                continue
            if record.budget is not None and record.tasks:
                self._write_samples(name, self._folder / name / RUN, cell.environment, record.budget.steps, record)
            if cell.kind == "table" and reads_after:
                found = self._json(self._folder / name / "after.json")
                if not found:
                    raise BenchError(f"{self._folder / name} has no after.json: start the bench again")
                after.append({"cell": name, "after": found})
        for kind, lines in kinds.items():
            write_text(self._staging, f"{RECORDS}/{kind}{GZIPPED}", lines_text(lines))
        write_text(self._staging, CONFIGS, lines_text(configs))
        if after:
            write_text(self._staging, AFTER, lines_text(after))

    def _plugins_of(self, name: str, cell: Cell) -> list[str]:
        """The plugins of a cell; of one that never began, nothing is known but its configuration."""
        run = RunFolder(self._folder / name / RUN)
        config = self._json(run.path / "config.json")
        if config and config != cell.config.resolved():
            raise BenchError(f"the run in {run.path} has another configuration than the cell: start the bench again")
        plugins = self._json(run.path / PROVENANCE).get("plugins", {})
        for plugin, found in plugins.items():
            kept = {"version": found["version"], "source": found["source"]}
            if self._plugins.setdefault(plugin, kept) != kept:
                raise BenchError(
                    f"cells were run with different code of the plugin {shorten(plugin)}, e.g. {name}: run the bench "
                    "again with --rerun"
                )
        return sorted(plugins)

    def _write_samples(
        self, name: str, place: Path, environment: str, step: int | None, record: Record | None = None
    ) -> None:
        self._see(place / "samples.jsonl")
        try:
            samples = last_evaluation(RunFolder(place).lines("samples.jsonl"), step)
            lines = [self._without_details(line) for line in grouped(samples)]
        except BenchError as error:
            raise BenchError(f"{place}: {error}") from None
        if record is not None and not _is_whole(samples, record):
            raise BenchError(
                f"{place / 'samples.jsonl'} has other scores at the last evaluation than the record of the cell: "
                f"remove {place.parent}, and start the bench again"
            )
        self._tasks.setdefault(environment, {}).update(tasks_of(samples))
        self._write_evidence(samples_name(name), lines)

    def _without_details(self, line: dict[str, Any]) -> dict[str, Any]:
        """The details of verdicts may name files of the machine, e.g. in the text of an error."""
        for response in line["responses"]:
            detail = self._redaction.text(str(response["verdict"].get("detail", "")))
            response["verdict"] = {**response["verdict"], "detail": detail}
        return line

    def _write_evidence(self, name: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write what must not be changed; the file is left out later if it holds what is private."""
        text = lines_text(lines)
        if self._redaction.is_private(text):
            self._private.append(name)
        write_text(self._staging, name, text)

    def _write_untrained(self, matrix: Matrix, done: Sequence[Cell]) -> None:
        if not matrix.controls.untrained:
            return
        measurable = {(cell.environment, cell.model) for cell in done if cell.kind == "table"}
        for (environment, model), name in untrained_folders(matrix).items():
            place = self._folder / name
            found = self._json(place / UNTRAINED_FILE)
            if not found and (environment, model) in measurable:
                raise BenchError(f"{place} has no {UNTRAINED_FILE}: start the bench again")
            if not found:
                continue
            write_text(self._staging, f"{UNTRAINED}/{place.name}.json", json_text(self._redaction.value(found)))
            for own in sorted(path for path in place.iterdir() if (path / "samples.jsonl").is_file()):
                self._write_samples(f"{name}/{own.name}", own, environment, None)


def _is_whole(samples: Sequence[Mapping[str, Any]], record: Record) -> bool:
    """Whether the samples are those of the record: equal scores, and a greedy response to each task if it has any."""
    scores: dict[str, list[float | None]] = {}
    greedy = set()
    for sample in samples:
        place = f"{sample['index']}-{sample['task_hash']}"
        if sample["mode"] == "sampled":
            scores.setdefault(place, []).append(sample["verdict"]["score"])
        else:
            greedy.add(place)
    has_greedy = "score/greedy" in (record.final or {})
    return scores == dict(record.tasks) and (not has_greedy or greedy == scores.keys())
