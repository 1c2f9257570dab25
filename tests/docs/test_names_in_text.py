"""Code spans of the written pages name what exists: options with their defaults, Python names, files, variables."""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import re
import tomllib
import typing
from pathlib import Path

import pydantic
import pytest
from docs_pages import DOCS, FENCE, PAGES, ROOT, generate, name_of

import fdiv_gym as fg
from fdiv_gym.registry import KINDS
from fdiv_gym.runs import RunConfig
from fdiv_gym.runs.config import PLUGIN_TABLES

WRITTEN = [page for page in PAGES if page not in {DOCS / name for name in generate.PAGES}]
OWN = [e for kind in KINDS for e in fg.list_entries(kind) if e.distribution == "fdiv-gym" and e.status == "ok"]
TABLES = {*RunConfig.model_fields, *KINDS} - {"seed"}
SOURCES = [path for top in ("fdiv_gym", "envs", "trainers", "plugins") for path in sorted((ROOT / top).rglob("*.py"))]
NOT_AN_OPTION = {
    "env.contamination": "an attribute of the environments with data sets",
    "objective.prepare": "a method",
    "objective.loss": "a method",
    "delta": "a symbol of a formula",
    "rho": "a symbol of a formula",
    "loss_type": "an option of TRL",
    "scale_rewards": "an option of TRL",
    "better": "a column of preference data",
}
INTERNAL = {"FDIV_GYM_DEBUG", "FDIV_GYM_MATH_SERVER"}
"""Variables that fdiv-gym sets for itself: by ``--debug``, and in the verifier's helper process."""


def spans(text: str) -> list[str]:
    """The code spans of a text, each on one line; fenced blocks are left out."""
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", FENCE.sub("", text))]


def fields(owner: type[pydantic.BaseModel]) -> dict[str, list[typing.Any]]:
    """key -> its defaults, of a model and of the tables with fixed keys in it."""
    found: dict[str, list[typing.Any]] = {}
    for name, field in owner.model_fields.items():
        found.setdefault(name, []).append(field.get_default(call_default_factory=True))
        for part in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, pydantic.BaseModel):
                for key, values in fields(part).items():
                    found.setdefault(key, []).extend(values)
    return found


@functools.cache
def known(table: str) -> dict[str, list[typing.Any]]:
    """key -> its defaults, of a table of a run file or of the plugins of a kind."""
    kind = PLUGIN_TABLES[table][1] if table in PLUGIN_TABLES else table
    models = [entry.load().Options for entry in OWN if entry.kind == kind]
    if table in RunConfig.model_fields and table not in PLUGIN_TABLES:
        annotation = RunConfig.model_fields[table].annotation
        models += [p for p in (annotation, *typing.get_args(annotation)) if hasattr(p, "model_fields")]
    found: dict[str, list[typing.Any]] = {"id": [], "name": []} if kind in KINDS else {}
    for model in models:
        for key, values in fields(model).items():
            found.setdefault(key, []).extend(values)
    return found


OPTIONS: dict[str, list[typing.Any]] = {}
for _table in sorted(TABLES):
    for _key, _values in known(_table).items():
        OPTIONS.setdefault(_key, []).extend(_values)


def wrong_key(span: str) -> bool:
    """Whether a span such as ``trainer.steps`` or ``off_policy_scale = "matched"`` names no option."""
    name, _, value = span.partition(" = ")
    if name in NOT_AN_OPTION:
        return False
    table, *keys = name.split(".")
    if keys and table in TABLES and re.fullmatch(r"[a-z_.]+", name) and not name.endswith((".md", ".py", ".toml")):
        return keys[0] not in known(table) or any(key not in OPTIONS for key in keys[1:])
    if keys or not re.fullmatch(r"[a-z]\w+", name) or not value:
        return False
    try:
        tomllib.loads(f"{name} = {value}")
    except tomllib.TOMLDecodeError:
        return False
    return name not in OPTIONS


def resolves(dotted: str) -> bool:
    """Whether ``fg.Verdict.scored``, ``fdiv_gym.runs.RunFolder`` or ``TextEnv.vote`` exists."""
    first, *rest = dotted.split(".")
    value: typing.Any = fg if first in ("fg", "fdiv_gym") else getattr(fg, first)
    for name in rest:
        declared = {key for base in getattr(value, "__mro__", ()) for key in vars(base).get("__annotations__", {})}
        if hasattr(value, name):
            value = getattr(value, name)
        elif name in declared:
            return True
        elif not isinstance(value, type) and (ROOT / value.__name__.replace(".", "/")).is_dir():
            try:
                value = importlib.import_module(f"{value.__name__}.{name}")
            except ImportError:
                return False
        else:
            return False
    return True


def python_name(span: str) -> str:
    """The dotted name at the beginning of a span, if it is one of fdiv-gym; else an empty string."""
    found = re.match(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?![\w<])", span)
    if found is None or "<" in span:
        return ""
    first = found[0].partition(".")[0]
    return found[0] if first in ("fg", "fdiv_gym") or (first[0].isupper() and first in fg.__all__) else ""


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_code_spans_name_what_exists(page):
    found = spans(page.read_text(encoding="utf-8"))
    assert [span for span in found if wrong_key(span)] == [], "no such option"
    assert [span for span in found if python_name(span) and not resolves(python_name(span))] == [], "no such name"


@pytest.mark.parametrize(
    "span", ["trainer.max_unscord", 'off_policy_skale = "matched"', "model.embedded.layrs", "beta_2 = 0.1"]
)
def test_a_wrong_key_would_be_found(span):
    assert wrong_key(span)


@pytest.mark.parametrize("span", ["fg.Verdikt", "fdiv_gym.runs.Folder", "TextEnv.votes(x)", "fdiv_gym.run.RunFolder"])
def test_a_wrong_name_would_be_found(span):
    assert not resolves(python_name(span))


def default_of(cell: str) -> typing.Any:
    """The value that a cell of a table shows."""
    text = cell.strip().strip("`")
    try:
        return json.loads(text)
    except ValueError:
        return text


def shown_defaults(text: str) -> list[tuple[str, str, str]]:
    """(plugin, option, default) of the tables with a column ``default``; the plugin is named in a comment above."""
    found = []
    for owner, head, rows in re.findall(
        r"(?:<!-- options of (.+?) -->\n+)?^(\|.*\|)\n\|[-|]+\|\n((?:\|.*\|\n?)+)", text, re.MULTILINE
    ):
        columns = [column.strip() for column in head.strip("|").split("|")]
        if columns[0] not in ("option", "key") or "default" not in columns:
            continue
        for row in rows.strip().splitlines():
            cells = row.strip("|").split("|")
            names = re.findall(r"`(\w+)`", cells[0])
            values = (
                cells[columns.index("default")].split(", ") if len(names) > 1 else [cells[columns.index("default")]]
            )
            found += [(owner, name, value) for name, value in zip(names, values, strict=True)]
    return found


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_the_defaults_in_tables_are_those_of_the_code(page):
    labels = {f"{entry.kind} {entry.name}": entry for entry in OWN}
    for owner, option, cell in shown_defaults(page.read_text(encoding="utf-8")):
        assert owner in labels, f"write <!-- options of KIND NAME --> above the table that holds {option}"
        (value,) = fields(labels[owner].load().Options)[option]
        shown, value = default_of(cell), value.raw() if isinstance(value, fg.PluginRef) else value
        words = {None: "unset", "": "empty"}
        simple = value is None or isinstance(value, (str, int, float))
        assert shown == (words.get(value, value) if simple else json.loads(json.dumps(value))), option


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_the_defaults_in_sentences_are_those_of_the_code(page):
    text = " ".join(FENCE.sub("", page.read_text(encoding="utf-8")).split())
    for name, number, percent in re.findall(r"`(\w+)`(?: [a-z ]+)? \((?:default )?([\d.]+\d|\d)( %)?\)", text):
        if name in OPTIONS:
            value = float(number) / (100 if percent else 1)
            assert value in OPTIONS[name], f"{name}: {OPTIONS[name]}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_and_variables_exist(page):
    text = page.read_text(encoding="utf-8")
    paths = {path.rstrip(".") for path in re.findall(r"(?<![\w/])examples/[\w./-]*", text)}
    assert [path for path in paths if not re.search("[A-Z]", path) and not (ROOT / path).exists()] == []
    variables = set(re.findall(r"\bFDIV_GYM_[A-Z_]+", text))
    assert variables <= read_variables()


@functools.cache
def read_variables() -> set[str]:
    """The environment variables that the sources name."""
    return set(re.findall(r"\bFDIV_GYM_[A-Z_]+", "".join(path.read_text(encoding="utf-8") for path in SOURCES)))


def test_every_variable_is_documented():
    table = (DOCS / "installation.md").read_text(encoding="utf-8").partition("## Environment variables")[2]
    shown = set(re.findall(r"^\| `(FDIV_GYM_\w+)` \|", table, re.MULTILINE))
    assert shown == read_variables() - INTERNAL
    assert read_variables() >= INTERNAL


def list_after_a_paragraph(path: Path) -> list[str]:
    """Items of a list that stand directly under a line of a paragraph: markdown shows them as running text."""
    lines = FENCE.sub("", path.read_text(encoding="utf-8")).splitlines()
    item = re.compile(r"([-*+]|\d+\.) ")
    return [
        line
        for before, line in itertools.pairwise(lines)
        if item.match(line) and before.strip() and not item.match(before) and not before.startswith((" ", "#", "<!--"))
    ]


@pytest.mark.parametrize(
    "path", [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "benchmarks" / "results").glob("*.md"))], ids=name_of
)
def test_a_blank_line_precedes_every_list(path):
    assert list_after_a_paragraph(path) == []
