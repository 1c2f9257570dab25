"""Verification of a bundle: everything that can be recomputed without training is recomputed and compared.

The hashes of the manifest say that the files are those that were sealed. They say nothing about who sealed them: who
alters a number can write its hash too. So no check relies on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdiv_gym.bench.bundle_files import (
    CONFIGS,
    FORMAT,
    GZIPPED,
    MANIFEST,
    MATRIX,
    RECORDS,
    REPORT,
    SAMPLES,
    TABLES,
    TASKS,
    TUNING,
    Bundle,
    checked_name,
)  # fmt: skip
from fdiv_gym.bench.bundle_inputs import Inputs, cells_of_bench, read_inputs
from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.offline import offline
from fdiv_gym.bench.rebuilt import Rebuilt
from fdiv_gym.bench.verified import Findings, Verified
from fdiv_gym.bench.verify_cells import check_cells, check_tuning
from fdiv_gym.bench.verify_samples import SampleChecks
from fdiv_gym.bench.verify_tables import check_report, check_tables
from fdiv_gym.errors import BenchError, FdivGymError


def verify_bundle(path: str | Path, *, strict_plugins: bool = False) -> Verified:
    """Recompute rewards, metrics, tables and report of a bundle, and name what disagrees.

    The bundle may be hostile: nothing in it is run, no server is asked, and only plugins that are installed here are
    built. What cannot be recomputed is named in ``notes``; docs/guides/bundles.md lists it.

    Args:
        path: the folder of the bundle.
        strict_plugins: whether a plugin whose code differs from the installed one is a fault; by default a note.

    Raises:
        BenchError: there is no such folder.
    """
    bundle, findings = Bundle(path), Findings()
    digest = ""
    with offline():
        with findings.about(MANIFEST):
            digest = bundle.digest()
        left_out = _check_manifest(bundle, findings)
        if digest:
            _check_content(bundle, left_out, findings, strict_plugins=strict_plugins)
    return Verified(
        bundle.path, digest, tuple(findings.faults), findings.more, tuple(findings.notes), dict(findings.counts)
    )


def _check_manifest(bundle: Bundle, findings: Findings) -> Mapping[str, Any]:
    """Every file is there with its hash and size, and no other; returns what was left out."""
    with findings.about(MANIFEST):
        manifest = bundle.json(MANIFEST)
        files, left_out = manifest.get("files"), manifest.get("left_out")
        if manifest.get("format") != FORMAT or not isinstance(files, Mapping) or not isinstance(left_out, Mapping):
            raise BenchError(f"it is no manifest of format {FORMAT}")
        if manifest.keys() - {"format", "renderer", "matplotlib", "files", "left_out"}:
            raise BenchError("it has unknown keys")
        names = [name for name in bundle.names() if name != MANIFEST]
        for name in files:
            checked_name(name)
        for name in names:
            if name not in files:
                findings.problem(name, f"{MANIFEST} does not name it")
        for name, entry in files.items():
            if name not in names:
                findings.problem(name, f"{MANIFEST} names it, and it is missing")
                continue
            with findings.about(name):
                content = bundle.read(name)
                own = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
                findings.compare(name, entry, own, f"in {MANIFEST}", relative=0.0)
        _check_left_out(left_out, names, findings)
        return left_out
    return {}


def _check_left_out(left_out: Mapping[str, Any], names: list[str], findings: Findings) -> None:
    by_reason: dict[tuple[str, str], int] = {}
    for name, entry in left_out.items():
        why = entry.get("why") if isinstance(entry, Mapping) else None
        what = next((kind for start, kind in MAY_LACK.items() if checked_name(name).startswith(start)), None)
        if what is None or name in names or why not in REASONS:
            findings.problem(
                MANIFEST, "only samples, tasks and figures are left out, for a known reason", f"left_out: {name}"
            )
        else:
            by_reason[what, why] = by_reason.get((what, why), 0) + 1
    for (what, why), number in by_reason.items():
        findings.note(f"{number} files of {what} are NOT in the bundle ({REASONS[why]}): only their hashes are known")


MAY_LACK = {f"{SAMPLES}/": "samples", f"{TASKS}/": "samples", f"{REPORT}/figures/": "figures"}
"""What a bundle may lack, by the beginning of its name."""
REASONS = {"size": "left out to keep it small", "private": "they held what is private"}


def _check_content(bundle: Bundle, left_out: Mapping[str, Any], findings: Findings, *, strict_plugins: bool) -> None:
    inputs: Inputs | None = None
    cells: Mapping[str, Cell] = {}
    try:
        inputs = read_inputs(bundle)
        cells = cells_of_bench(inputs.matrix, inputs.tuning)
    except FdivGymError as error:
        findings.problem(_place_of(str(error)), str(error))
    except Exception as error:
        findings.problem(MATRIX, f"cannot be checked: {type(error).__name__}")
    if inputs is None or not cells:
        return
    with findings.about(CONFIGS):
        check_cells(bundle, inputs, cells, findings, strict_plugins=strict_plugins)
    known: Any = {}
    with findings.about(TABLES):
        known = bundle.json(TABLES).get("score_range")
    configs = {cell.environment: cell.config for cell in cells.values() if cell.kind == "table"}
    rebuilt = Rebuilt(inputs.matrix, configs, known, findings)
    try:
        _check_evidence(bundle, inputs, cells, rebuilt, left_out, findings)
        with findings.about(TABLES):
            ranges = rebuilt.ranges()
            with findings.about(TUNING):
                check_tuning(inputs, ranges, findings)
            check_tables(bundle, inputs, ranges, findings)
        with findings.about("report"):
            check_report(bundle, inputs, findings)
    finally:
        rebuilt.close()


def _check_evidence(
    bundle: Bundle,
    inputs: Inputs,
    cells: Mapping[str, Cell],
    rebuilt: Rebuilt,
    left_out: Mapping[str, Any],
    findings: Findings,
) -> None:
    checks = SampleChecks(bundle, inputs, rebuilt, left_out, findings)
    for name, cell in cells.items():
        record = inputs.records.get(name)
        if record is not None:
            with findings.about(f"{SAMPLES}/{name}{GZIPPED}"):
                checks.check_cell(name, cell, record)
    checks.check_untrained([cell for cell in cells.values() if cell.kind == "table"])
    checks.check_unused_tasks()
    known = {f"{SAMPLES}/{name}{GZIPPED}" for name in cells}
    for name in bundle.names():
        untrained = any(name.startswith(f"{SAMPLES}/controls/{own}/") for own in inputs.untrained)
        if name.startswith(f"{SAMPLES}/") and name not in known and not untrained:
            findings.problem(name, "no cell of the matrix has these samples")
    missing = sorted(set(inputs.after) - cells.keys())
    if missing:
        findings.problem("after.jsonl.gz", "the matrix has no such cell", missing[0])


def _place_of(message: str) -> str:
    """The file that an error of reading names."""
    for start in (TUNING, f"{RECORDS}/", "untrained/", "after.jsonl.gz"):
        if message.startswith(start):
            return message.partition(":")[0].partition(",")[0].partition(" ")[0]
    return MATRIX
