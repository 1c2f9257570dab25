"""A static page of several bundles: each is verified first, and only what was measured on equal terms is compared."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fdiv_gym.bench.bundle_files import BENCH, CONFIGS, GZIPPED, MANIFEST, RECORDS, REPORT, TABLES, Bundle
from fdiv_gym.bench.bundle_inputs import read_inputs
from fdiv_gym.bench.cells import SHARED, SHARED_OF_TRAINER
from fdiv_gym.bench.redaction import HOST, PATH, SECRET
from fdiv_gym.bench.report import PAGE
from fdiv_gym.bench.verified import Verified
from fdiv_gym.bench.verify import verify_bundle
from fdiv_gym.errors import BenchError, MissingExtraError
from fdiv_gym.files import replacing
from fdiv_gym.registry.messages import printable
from fdiv_gym.runs.pages import text

DIGITS = 12
"""Hex digits of a digest that are shown; the page holds all of them."""


@dataclass(frozen=True)
class Row:
    """An objective in one comparison of one bundle.

    Args:
        objective: label.
        iqm: interquartile mean of the normalised final scores: ``value``, ``low``, ``high``.
        seeds: of the table.
        failed: cells without a score.
        bundle: the place of the bundle in ``Board.bundles``.
    """

    objective: str
    iqm: Mapping[str, Any]
    seeds: int
    failed: int
    bundle: int


@dataclass(frozen=True)
class Shown:
    """A verified bundle on the page.

    Args:
        name: of its matrix.
        verified: what was found.
        place: relative to the page.
        about: version and hardware, as the bundle tells them.
    """

    name: str
    verified: Verified
    place: str
    about: str

    def link(self, name: str) -> str:
        """The address of one of its files, relative to the page."""
        return quote(f"{self.place}/{name}")


@dataclass
class Group:
    """Rows that were measured on equal terms.

    Args:
        title: environments, model, budget and updates.
        terms: eight hex digits of the hash of all settings that the rows share.
        rows: by IQM, the highest first.
    """

    title: str
    terms: str
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Board:
    """The end of ``write_leaderboard``.

    Args:
        page: the page; None if it was not written.
        groups: the tables.
        bundles: on the page.
        refused: those that did not verify.
    """

    page: Path | None
    groups: tuple[Group, ...]
    bundles: tuple[Shown, ...]
    refused: tuple[Verified, ...]


def write_leaderboard(
    bundles: Sequence[str | Path], output: str | Path, *, skip_refused: bool = False, strict_plugins: bool = False
) -> Board:
    """Verify bundles, and write one page of them.

    Rows share a table only if model, engine, environments, evaluation, budget and batches are equal; another matrix may
    then have other objectives or seeds.

    Args:
        bundles: folders of bundles, or of benches that hold one.
        output: the page.
        skip_refused: write the page of the others if some do not verify; by default none is written.
        strict_plugins: see ``verify_bundle``.

    Raises:
        BenchError: there is no bundle in a folder, one is given twice, or the page cannot be written.
        MissingExtraError: jinja2 is not installed.
    """
    output = Path(output)
    checked = [verify_bundle(_bundle_in(Path(path)), strict_plugins=strict_plugins) for path in bundles]
    refused = tuple(one for one in checked if not one.clean)
    _refuse_repeated(checked)
    groups: dict[str, Group] = {}
    shown: list[Shown] = []
    for verified in checked:
        if verified.clean:
            _add(verified, output, groups, shown)
    for group in groups.values():
        group.rows.sort(key=lambda row: -1.0 if row.iqm["value"] is None else row.iqm["value"], reverse=True)
    found = sorted(groups.values(), key=lambda group: (group.title, group.terms))
    page = None
    if shown and (skip_refused or not refused):
        page = output
        content = _page(found, shown, refused)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            with replacing(output) as file:
                file.write(content)
        except OSError as error:
            raise BenchError(f"cannot write {output}: {error.strerror}") from None
    return Board(page, tuple(found), tuple(shown), refused)


def _bundle_in(path: Path) -> Path:
    inside = path / "bundle"
    return inside if not (path / MANIFEST).is_file() and (inside / MANIFEST).is_file() else path


def _refuse_repeated(checked: Sequence[Verified]) -> None:
    seen: dict[str, Path] = {}
    for one in checked:
        if one.digest and one.digest in seen:
            raise BenchError(f"{seen[one.digest]} and {one.path} are the same bundle: give it once")
        seen[one.digest] = one.path


def _add(verified: Verified, output: Path, groups: dict[str, Group], shown: list[Shown]) -> None:
    """Add the rows of a verified bundle."""
    bundle = Bundle(verified.path)
    tables, bench = bundle.json(TABLES), bundle.json(BENCH)
    configs, records = bundle.by_cell(CONFIGS, "config"), read_inputs(bundle).records
    place = os.path.relpath(verified.path.resolve(), output.resolve().parent).replace(os.sep, "/")
    hardware = bench.get("hardware")
    machine = [hardware.get(key) for key in ("processor", "gpus")] if isinstance(hardware, Mapping) else []
    about = [f"fdiv-gym {bench.get('fdiv_gym', '?')}", *(str(each) for each in machine if each)]
    shown.append(Shown(str(tables["name"]), verified, place, ", ".join(about)))
    for comparison in tables["comparisons"]:
        own = {
            record.environment: configs[cell]
            for cell, record in records.items()
            if record.kind == "table"
            and (record.model, record.updates) == (comparison["model"], comparison["updates"])
            and record.environment in comparison["environments"]
        }
        if not own:
            continue
        terms = _terms(own, comparison, verified.digest)
        title = _title(tables, comparison)
        group = groups.setdefault(terms, Group(title, terms[:8]))
        for row in comparison["leaderboard"]:
            group.rows.append(Row(row["objective"], row["iqm"], len(tables["seeds"]), row["failed"], len(shown) - 1))


def _terms(configs: Mapping[str, Mapping[str, Any]], comparison: Mapping[str, Any], digest: str) -> str:
    """A hash of everything that rows must have in common; the names of environments and models are no part of it.

    What was replaced because it is private may differ between bundles: then rows share a table with their own only.
    """
    found = sorted(
        json.dumps(
            {
                **{table: config.get(table) for table in SHARED},
                **{f"trainer.{name}": config["trainer"].get(name) for name in SHARED_OF_TRAINER},
            },
            sort_keys=True,
        )
        for config in configs.values()
    )
    own = [digest] if any(mark in text for text in found for mark in (PATH, HOST, SECRET)) else []
    return hashlib.sha256(json.dumps([comparison["updates"], found, *own]).encode()).hexdigest()


def _title(tables: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    budget, updates = tables["budget"], comparison["updates"]
    rollout = f"{updates} update{'' if updates == 1 else 's'} per rollout"
    limit = f"{budget['limit']:,.10g} {budget['kind']}"
    return f"{', '.join(comparison['environments'])}; {comparison['model']}; {limit}; {rollout}"


def _page(groups: Sequence[Group], shown: Sequence[Shown], refused: Sequence[Verified]) -> str:
    try:
        from jinja2 import DictLoader, Environment
    except ImportError:
        raise MissingExtraError("the page needs jinja2: pip install 'fdiv-gym[train]'") from None
    names = {"base.html.j2": "fdiv_gym.runs", **dict.fromkeys(OF_PAGE, "fdiv_gym.bench")}
    sources = {
        name: resources.files(package).joinpath(name).read_text(encoding="utf-8") for name, package in names.items()
    }
    # Labels of others are hostile input: everything is escaped.
    environment = Environment(loader=DictLoader(sources), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.get_template("leaderboard.html.j2")
    files = {"report": f"{REPORT}/{PAGE}", "records": f"{RECORDS}/table{GZIPPED}", "manifest": MANIFEST}
    return printable(
        template.render(groups=groups, shown=shown, refused=refused, files=files, digits=DIGITS, text=text)
    )


OF_PAGE = ("leaderboard.html.j2", "report.css", "report.js")
