"""Bundles: what is published of a bench, so that others can recompute its numbers without training."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from fdiv_gym.bench.bundle_files import (
    AFTER,
    BENCH,
    CITATION,
    CONFIGS,
    FORMAT,
    GZIPPED,
    LOCK,
    MANIFEST,
    MATRIX,
    PLUGINS,
    RECORDS,
    REPORT,
    SAMPLES,
    TASKS,
    TUNING,
    UNTRAINED,
    Bundle,
    json_text,
    lines_text,
    samples_name,
    write_text,
)  # fmt: skip
from fdiv_gym.bench.bundle_inputs import cells_of_bench, read_inputs
from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.controls import UNTRAINED_FILE, untrained_folders
from fdiv_gym.bench.evaluated import grouped, last_evaluation, tasks_of
from fdiv_gym.bench.labels import slug
from fdiv_gym.bench.matrix import Matrix, load_matrix
from fdiv_gym.bench.process import RUN
from fdiv_gym.bench.record import Record, read_record
from fdiv_gym.bench.redaction import Redaction
from fdiv_gym.bench.report import write_bench_report
from fdiv_gym.bench.results import ranges_of
from fdiv_gym.bench.run_file import toml_text
from fdiv_gym.errors import BenchError
from fdiv_gym.manifest import sha256_of
from fdiv_gym.registry.messages import shorten
from fdiv_gym.runs.folder import PROVENANCE, RunFolder
from fdiv_gym.version import __version__

LIMIT_MB = 10.0
LEAST_FIRST = ("tuning", "controls/untrained", "controls", "cells")
"""Whose samples are left out first where there is a limit; of each, the last by name first."""
SHOWN = 3
OF_REPORT = {
    "fdiv_gym.bench": (
        "figures.py", "report.css", "report.html.j2", "report.js", "report.py", "sheet.py",
        "sheets.py", "texts.py",
    ),
    "fdiv_gym.runs": ("base.html.j2", "pages.py"),
}  # fmt: skip
"""The files whose change may change the report."""


def write_bundle(folder: str | Path, output: str | Path | None = None, *, limit_mb: float | None = LIMIT_MB) -> Path:
    """Write what is published of a finished bench.

    The same folder gives the same bytes. Paths, hosts that are not public, and secrets are replaced; samples that hold
    any are left out, as are those that do not fit below the limit. The manifest names them with their SHA-256.

    Args:
        folder: of the bench.
        output: the bundle; by default ``bundle`` in the folder. An earlier bundle there is replaced at once.
        limit_mb: megabytes (10^6 bytes) of the whole; None for any number.

    Returns:
        The bundle.

    Raises:
        BenchError: cells have not been run, the folder contradicts itself, ``output`` is something else than a bundle,
            or the limit cannot be held.
        ConfigError: the matrix or a record is wrong.
        MissingExtraError: a package of the report is missing.
        TrainerError: a file cannot be read or written.
    """
    folder = Path(folder)
    output = folder / "bundle" if output is None else Path(output)
    if os.path.lexists(output) and not (output.is_dir() and not output.is_symlink() and (output / MANIFEST).is_file()):
        raise BenchError(f"{output} exists and is no bundle: name another folder")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
        try:
            staging.chmod(0o755)
            private = _Collector(folder, staging).collect()
            write_derived(staging, ranges_of(load_matrix(folder / MATRIX)))
            seal_bundle(staging, _too_large(staging, limit_mb, private))
            _replace(staging, output)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise BenchError(f"cannot write the bundle {output}: {error.strerror or error}") from None
    return output


class _Collector:
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
        self._write_cells(cells, records)
        self._write_untrained(matrix)
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

    def _write_cells(self, cells: Mapping[str, Cell], records: Mapping[str, Record]) -> None:
        configs, after = [], []
        kinds: dict[str, list[dict[str, Any]]] = {}
        for name, cell in cells.items():
            record = records[name]
            values = self._redaction.value(record.model_dump(mode="json"))
            kinds.setdefault(cell.kind, []).append({"cell": name, "record": values})
            plugins = self._plugins_of(name, cell)
            configs.append({"cell": name, "plugins": plugins, "config": self._redaction.value(cell.config.resolved())})
            if record.status == "done" and record.budget is not None and record.tasks:
                self._write_samples(name, self._folder / name / RUN, cell.environment, record.budget.steps)
            found = self._json(self._folder / name / "after.json")
            if found and cell.kind == "table" and record.status == "done":
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

    def _write_samples(self, name: str, place: Path, environment: str, step: int | None) -> None:
        self._see(place / "samples.jsonl")
        try:
            samples = last_evaluation(RunFolder(place).lines("samples.jsonl"), step)
            lines = [self._without_details(line) for line in grouped(samples)]
        except BenchError as error:
            raise BenchError(f"{place}: {error}") from None
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

    def _write_untrained(self, matrix: Matrix) -> None:
        if not matrix.controls.untrained:
            return
        for (environment, _), name in untrained_folders(matrix).items():
            place = self._folder / name
            found = self._json(place / UNTRAINED_FILE)
            if not found:
                continue
            write_text(self._staging, f"{UNTRAINED}/{place.name}.json", json_text(self._redaction.value(found)))
            for own in sorted(path for path in place.iterdir() if (path / "samples.jsonl").is_file()):
                self._write_samples(f"{name}/{own.name}", own, environment, None)


def write_derived(folder: Path, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Write what follows from the other files: tables, report, lock file and citation.

    Args:
        folder: of the bundle.
        ranges: lowest and highest score by the label of the environment.
    """
    bundle = Bundle(folder)
    bench, plugins = bundle.json(BENCH), bundle.json(PLUGINS)
    inputs = read_inputs(bundle)
    write_bench_report(inputs.tables(ranges), folder / REPORT, provenance_of(bench, plugins))
    write_text(folder, LOCK, lock_text(bench))
    write_text(folder, CITATION, citation_text(inputs.matrix, bench))


def provenance_of(bench: Mapping[str, Any], plugins: Mapping[str, Any]) -> dict[str, Any]:
    """What the report shows of the origin of its numbers."""
    return {"bench": {key: value for key, value in bench.items() if key != "lock"}, "plugins": dict(plugins)}


def lock_text(bench: Mapping[str, Any]) -> str:
    """The versions of the installed packages, one a line, as pip reads them."""
    versions = bench.get("lock") or bench.get("versions")
    items = sorted(versions.items()) if isinstance(versions, Mapping) else []
    return "".join(f"{name}=={version}\n" for name, version in items)


def citation_text(matrix: Matrix, bench: Mapping[str, Any]) -> str:
    """How to cite the bundle and the software."""
    return f"""cff-version: 1.2.0
message: If you use these results, please cite them by the SHA-256 of {MANIFEST}, and fdiv-gym.
title: {json.dumps(f"Comparison of objectives: {matrix.name}", ensure_ascii=False)}
type: dataset
authors:
  - name: {json.dumps(f"authors of the comparison {matrix.name}", ensure_ascii=False)}
references:
  - type: software
    title: fdiv-gym
    version: {json.dumps(str(bench.get("fdiv_gym", __version__)), ensure_ascii=False)}
    authors:
      - name: fdiv-gym contributors
    notes: Its CITATION.cff names the papers of the objectives.
"""


def _too_large(staging: Path, limit_mb: float | None, private: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Remove the samples that are private, and those beyond the limit; returns what the manifest says of them."""
    left_out = {name: _removed(staging, name, "private") for name in private}
    if limit_mb is None:
        return left_out
    names = Bundle(staging).names()
    size = sum((staging / name).stat().st_size for name in names) + len(manifest_text(staging, names, left_out))
    order = [name for name in names if name.startswith(f"{SAMPLES}/")]
    order.sort(key=lambda name: (-_importance(name), name))
    while order and size > limit_mb * 1e6:
        name = order.pop()
        left_out[name] = _removed(staging, name, "size")
        size -= left_out[name]["size"] - len(', "why": "size"')
    if size > limit_mb * 1e6:
        raise BenchError(
            f"the bundle has {size / 1e6:.1f} MB without any samples, more than {limit_mb:g}: raise --limit-mb"
        )
    return left_out


def _importance(name: str) -> int:
    place = name.removeprefix(f"{SAMPLES}/")
    return next(number for number, start in enumerate(LEAST_FIRST) if place.startswith(start))


def _removed(staging: Path, name: str, why: str) -> dict[str, Any]:
    path = staging / name
    found = {"sha256": sha256_of(path), "size": path.stat().st_size, "why": why}
    path.unlink()
    return found


def seal_bundle(folder: Path, left_out: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the manifest: the SHA-256 and size of every file, and of what was left out."""
    names = [name for name in Bundle(folder).names() if name != MANIFEST]
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
    write_text(folder, MANIFEST, manifest_text(folder, names, left_out))


def manifest_text(folder: Path, names: Sequence[str], left_out: Mapping[str, Any]) -> str:
    """The text of the manifest."""
    files = {name: {"sha256": sha256_of(folder / name), "size": (folder / name).stat().st_size} for name in names}
    tools = {"renderer": renderer(), "matplotlib": _version("matplotlib")}
    return json_text({"format": FORMAT, **tools, "files": files, "left_out": dict(sorted(left_out.items()))})


def renderer() -> str:
    """A hash (16 hex digits) of the code that makes the report: other code may write the same numbers otherwise."""
    digest = hashlib.sha256()
    for package, names in OF_REPORT.items():
        for name in names:
            digest.update(name.encode() + b"\0" + resources.files(package).joinpath(name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _replace(staging: Path, output: Path) -> None:
    """Give the finished bundle its name; an earlier one is moved away first, since no folder replaces a full one."""
    old = None
    if output.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
        os.replace(output, old / "old")
    os.replace(staging, output)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
