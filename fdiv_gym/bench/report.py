"""The report of a comparison: one self-contained page, and its tables and figures as files beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from fdiv_gym.bench.figures import Figure, drawn, figures_of
from fdiv_gym.bench.sheet import Sheet, detectable_note
from fdiv_gym.bench.sheets import sheets_of
from fdiv_gym.bench.texts import latex, long_csv, markdown
from fdiv_gym.errors import MissingExtraError, TrainerError
from fdiv_gym.files import replacing
from fdiv_gym.registry.messages import printable
from fdiv_gym.runs.pages import text

PAGE = "index.html"
SECTIONS = {
    "results": "Results",
    "heatmap": "Heat map",
    "learning": "Learning",
    "profiles": "Performance profiles",
    "policies": "After training",
    "divergence": "Reward against divergence from the reference",
    "hacking": "Score against true score",
    "failures": "Failures",
    "controls": "Controls",
    "tuning": "Tuning",
}


def write_bench_report(tables: Mapping[str, Any], folder: Path, provenance: Mapping[str, Any]) -> Path:
    """Write the report of a comparison.

    ``index.html`` opens from a file and loads nothing; beside it are ``tables.md``, ``tables.tex``, ``tables.csv``,
    ``tables.json`` and ``figures/*.svg`` and ``*.png``.

    Args:
        tables: of ``tables_of``.
        folder: made if it does not exist.
        provenance: JSON-ready; shown as it is at the end of the page.

    Returns:
        The page.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
        TrainerError: a file cannot be written.
    """
    sheets, figures = sheets_of(tables), figures_of(tables)
    images = {figure.file: drawn(figure) for figure in figures}
    page = _page(tables, sheets, _shown(figures, images), provenance)
    contents: dict[str, str | bytes] = {
        "tables.md": markdown(sheets, tables["name"]),
        "tables.tex": latex(sheets),
        "tables.csv": long_csv(sheets),
        "tables.json": json.dumps(tables, indent=1, allow_nan=False) + "\n",
    }
    for file, (svg, png) in images.items():
        contents |= {f"figures/{file}.svg": svg, f"figures/{file}.png": png}
    contents[PAGE] = printable(page)
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            _write(folder / name, content)
    except OSError as error:
        raise TrainerError(f"cannot write the report to {folder}: {error.strerror}") from None
    return folder / PAGE


def _page(
    tables: Mapping[str, Any], sheets: list[Sheet], figures: list[dict[str, str]], provenance: Mapping[str, Any]
) -> str:
    try:
        from jinja2 import DictLoader, Environment
    except ImportError:
        raise MissingExtraError("the report needs jinja2: pip install 'fdiv-gym[train]'") from None
    sources = {"base.html.j2": _source("fdiv_gym.runs", "base.html.j2")}
    sources |= {name: _source("fdiv_gym.bench", name) for name in ("report.html.j2", "report.css", "report.js")}
    # Labels and errors are hostile input: everything is escaped.
    environment = Environment(loader=DictLoader(sources), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return str(
        environment.get_template("report.html.j2").render(
            tables=tables,
            facts=_facts(tables),
            sections=[part for part in _sections(sheets, figures) if part["sheets"] or part["figures"]],
            detectable=_detectable(tables["comparisons"]),
            estimator=tables["controls"]["estimator"],
            text_of_provenance=json.dumps(provenance, indent=2, default=str),
            text=text,
        )
    )


def _shown(figures: list[Figure], images: Mapping[str, tuple[str, bytes]]) -> list[dict[str, str]]:
    """The figures for the page; its heat map is a table."""
    shown = []
    for figure in figures:
        if figure.section != "heatmap":
            image = _uri(images[figure.file][0])
            shown.append({"section": figure.section, "title": figure.title, "choice": figure.choice, "image": image})
    return shown


def _sections(sheets: list[Sheet], figures: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    for section, title in SECTIONS.items():
        shown = [figure for figure in figures if figure["section"] == section]
        own = [sheet for sheet in sheets if _section_of(sheet) == section]
        choices = list(dict.fromkeys(figure["choice"] for figure in shown if figure["choice"]))
        yield {"name": section, "title": title, "sheets": own, "figures": shown, "choices": choices}


def _section_of(sheet: Sheet) -> str:
    return "heatmap" if sheet.name.startswith(("heatmap", "seeds")) else sheet.section


def _detectable(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    """The minimum detectable effect of each comparison, with its name where there are several."""
    if len(comparisons) == 1:
        return [detectable_note(comparisons[0])]
    return [f"{one['model']}, updates {one['updates']}: {detectable_note(one)}" for one in comparisons]


def _facts(tables: Mapping[str, Any]) -> dict[str, str]:
    budget = tables["budget"]
    return {
        "objectives": str(len(tables["objectives"])),
        "environments": ", ".join(tables["environments"]),
        "models": ", ".join(tables["models"]),
        "seeds": ", ".join(map(str, tables["seeds"])),
        "budget of a cell": f"{budget['limit']:,.10g} {budget['kind']}",
    }


def _uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _source(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _write(target: Path, content: str | bytes) -> None:
    if isinstance(content, bytes):
        target.write_bytes(content)
        return
    with replacing(target) as file:
        file.write(content)
