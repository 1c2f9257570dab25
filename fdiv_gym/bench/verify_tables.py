"""Checks of a bundle's tables and report: both are made again, and every number and text is compared."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdiv_gym.bench.bundle_derived import citation_text, lock_text, provenance_of, renderer
from fdiv_gym.bench.bundle_files import BENCH, CITATION, LOCK, MANIFEST, PLUGINS, REPORT, TABLES, Bundle
from fdiv_gym.bench.bundle_inputs import Inputs
from fdiv_gym.bench.report import PAGE, write_bench_report
from fdiv_gym.bench.verified import Findings
from fdiv_gym.errors import MissingExtraError
from fdiv_gym.manifest import sha256_of

_IMAGE = re.compile(r"data:image/svg\+xml;base64,[A-Za-z0-9+/=]*")


def check_tables(bundle: Bundle, inputs: Inputs, ranges: Mapping[str, tuple[float, float]], findings: Findings) -> None:
    """Compare every number of every table with the one that follows from the records."""
    with findings.about(TABLES):
        found, expected = bundle.json(TABLES), inputs.tables(ranges)
        findings.compare(TABLES, found, expected)
        findings.count("numbers of tables", _numbers(expected))


def check_report(bundle: Bundle, inputs: Inputs, findings: Findings) -> None:
    """Make the report again from the bundle's tables, and the lock file and the citation, and compare their bytes.

    Figures are compared too where they were drawn by the matplotlib that is installed here.
    """
    bench, plugins, manifest = bundle.json(BENCH), bundle.json(PLUGINS), bundle.json(MANIFEST)
    for name, text in ((LOCK, lock_text(bench)), (CITATION, citation_text(inputs.matrix, bench))):
        with findings.about(name):
            _compare_texts(name, bundle.text(name), text, findings)
    if manifest.get("renderer") != renderer():
        findings.note(
            "the report was made by other code than that which is installed: its texts were compared with nothing but "
            f"their hash; {TABLES} was recomputed"
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            write_bench_report(bundle.json(TABLES), Path(folder), provenance_of(bench, plugins))
        except MissingExtraError as error:
            findings.note(f"the report was compared with nothing but its hash: {error}")
            return
        _compare_reports(bundle, Path(folder), manifest, findings)


def _compare_reports(bundle: Bundle, again: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    import matplotlib

    own = {path.relative_to(again).as_posix(): path for path in again.rglob("*") if path.is_file()}
    same = manifest.get("matplotlib") == matplotlib.__version__
    left_out = manifest["left_out"]  # checked before
    for name in bundle.names():
        if name.startswith(f"{REPORT}/") and name.removeprefix(f"{REPORT}/") not in own:
            findings.problem(name, "no such file follows from the tables")
    for short, path in own.items():
        name = f"{REPORT}/{short}"
        with findings.about(name):
            if name in left_out and not bundle.has(name):
                entry = left_out[name]
                if not isinstance(entry, Mapping) or entry.get("sha256") != sha256_of(path):
                    _different_figure(name, findings, same=same)
                continue
            found, expected = bundle.read(name), path.read_bytes()
            if found == expected:
                continue
            if short.startswith("figures/"):
                _different_figure(name, findings, same=same)
            elif short == PAGE and not same:
                one, other = (_IMAGE.sub("", content.decode("utf-8", "replace")) for content in (found, expected))
                _compare_texts(name, one, other, findings)
                _different_figure(name, findings, same=same)
            else:
                _compare_texts(name, found.decode("utf-8"), expected.decode("utf-8"), findings)


def _different_figure(name: str, findings: Findings, *, same: bool) -> None:
    if same:
        findings.problem(name, "it is not the figure that follows from the tables")
    else:
        findings.note(
            "figures were drawn by another matplotlib than the one here: compared with nothing but their hash"
        )


def _compare_texts(name: str, found: str, expected: str, findings: Findings) -> None:
    """The first line that differs."""
    if found == expected:
        return
    lines = [text.split("\n") for text in (found, expected)]
    for number, (one, other) in enumerate(zip(*lines, strict=False), 1):
        if one != other:
            place = next(
                (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(map(len, (one, other)))
            )
            start = max(place - 20, 0)
            findings.compare(name, one[start : place + 40], other[start : place + 40], f"line {number}", relative=0.0)
            return
    findings.compare(name, len(lines[0]), len(lines[1]), "number of lines", relative=0.0)


def _numbers(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_numbers, value.values()))
    if isinstance(value, list):
        return sum(map(_numbers, value))
    return int(isinstance(value, (int, float)) and not isinstance(value, bool))
