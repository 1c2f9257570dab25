"""What follows from the other files of a bundle: tables, report, lock file and citation."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from fdiv_gym.bench.bundle_files import (
    BENCH,
    CITATION,
    LOCK,
    MANIFEST,
    PLUGINS,
    REPORT,
    Bundle,
    write_text,
)  # fmt: skip
from fdiv_gym.bench.bundle_inputs import read_inputs
from fdiv_gym.bench.matrix import Matrix
from fdiv_gym.bench.report import write_bench_report
from fdiv_gym.version import __version__

OF_REPORT = {
    "fdiv_gym.bench": (
        "figures.py", "report.css", "report.html.j2", "report.js", "report.py", "sheet.py",
        "sheets.py", "texts.py",
    ),
    "fdiv_gym.runs": ("base.html.j2", "pages.py"),
}  # fmt: skip
"""The files whose change may change the report."""


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


def renderer() -> str:
    """A hash (16 hex digits) of the code that makes the report: other code may write the same numbers otherwise."""
    digest = hashlib.sha256()
    for package, names in OF_REPORT.items():
        for name in names:
            digest.update(name.encode() + b"\0" + resources.files(package).joinpath(name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def version_of(package: str) -> str:
    """The installed version of a package; empty without it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
