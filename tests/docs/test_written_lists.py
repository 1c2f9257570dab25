"""Lists that the pages write by hand are complete: plugins, files of a run, events, layers, the citation."""

from __future__ import annotations

import inspect
import re
import tomllib

import pytest
from docs_pages import ROOT

import fdiv_gym as fg
from fdiv_gym.runs import EVENTS, Callback, folder


def names_of(kind: str) -> set[str]:
    """The registered names of fdiv-gym's own plugins of a kind."""
    return {entry.name for entry in fg.list_entries(kind) if entry.distribution == "fdiv-gym"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def first_column(text: str, heading: str) -> list[str]:
    """The names in the first column of the table whose first heading is ``heading``."""
    (rows,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n?)+)", text, re.MULTILINE)
    return re.findall(r"^\| `([^`]+)`", rows, re.MULTILINE)


@pytest.mark.parametrize("kind", ["divergence", "objective"])
def test_the_readme_lists_every_name(kind):
    (cell,) = re.findall(rf"^\| {kind}s \| (.*?) \|$", read("README.md"), re.MULTILINE)
    shown = {part.strip(" `") for part in re.split("[,;]", cell)}
    in_words = {name for name in shown if " " in name}  # "any generator given as text"
    assert shown - in_words == names_of(kind) - {"from_generator"}
    assert len(in_words) == (kind == "divergence")


@pytest.mark.parametrize("kind", ["judge", "engine", "trainer"])
def test_the_readme_names_every_other_plugin(kind):
    included = read("README.md").partition("## What is included")[2].partition("\n## ")[0].lower()
    assert [name for name in names_of(kind) if not re.search(rf"\b{name}\b", included)] == []


@pytest.mark.parametrize(("page", "kind"), [("judges", "judge"), ("models", "engine")])
def test_a_guide_lists_every_name(page, kind):
    assert sorted(first_column(read(f"docs/guides/{page}.md"), kind)) == sorted(names_of(kind))


def test_the_training_guide_lists_every_objective_once():
    section = read("docs/guides/training.md").partition("## Choosing an objective")[2]
    (rows,) = re.findall(r"^\| data \|.*\n\|[-|]+\|\n((?:\|.*\n?)+)", section, re.MULTILINE)
    shown = [name for row in rows.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[2])]
    assert sorted(shown) == sorted(names_of("objective"))


def test_the_guide_to_preferences_names_the_objectives_that_read_them():
    sentence = read("docs/guides/preferences.md").partition(" learn from preferences")[0]
    assert set(re.findall(r"`([^`]+)`", sentence)) == {
        name for name in names_of("objective") if "preferences" in fg.get_objective(name).streams
    }


@pytest.mark.parametrize("page", ["math", "safety"])
def test_the_guides_to_environments_name_each(page):
    words = set(re.findall(r"[\w/-]+", " ".join(re.findall(r"`([^`]+)`", read(f"docs/guides/environments/{page}.md")))))
    family = {name for name in names_of("environment") if name.startswith(f"{page}/")}
    assert family
    assert [name for name in family if not {name, re.sub(r"^\w+/|-v\d+$", "", name)} & words] == []


def test_the_training_guide_lists_the_files_of_a_run():
    shown = {name for name in first_column(read("docs/guides/training.md"), "file") if "/" not in name}
    assert shown == {value for name, value in vars(folder).items() if name.isupper() and isinstance(value, str)}


def test_the_tutorial_lists_every_event_with_its_arguments():
    rows = re.findall(r"^\| `(\w+)` \| `([\w, ]+)` \|", read("docs/guides/plugins/callback.md"), re.MULTILINE)
    assert [name for name, _ in rows] == list(EVENTS)
    public = [n for n, f in vars(Callback).items() if inspect.isfunction(f) and not n.startswith("_")]
    assert public == [*EVENTS, "metrics", "panels", "state_dict", "load_state_dict"]
    for name, arguments in rows:
        assert arguments.split(", ") == list(inspect.signature(getattr(Callback, name)).parameters)[1:], name


def test_the_layers_are_those_of_the_contract():
    lines = [line.strip() for line in read("CONTRIBUTING.md").splitlines() if line.startswith("    ") and "·" in line]
    shown = [{n.strip() for n in layer.split(",")} for layer in " ".join(lines).split("·") if layer.strip()]
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert shown[::-1] == [{name.strip() for name in layer.split("|")} for layer in layers]


def test_the_citation_is_valid():
    yaml = pytest.importorskip("yaml", reason="needs the extra docs")
    citation = yaml.safe_load(read("CITATION.cff"))
    for key in ("cff-version", "message", "title", "version", "license", "abstract"):
        assert isinstance(citation[key], str), key
        assert citation[key].strip(), key
    assert citation["type"] == "software"
    assert citation["license"] == tomllib.loads(read("pyproject.toml"))["project"]["license"]
    assert citation["version"] == fg.__version__
    assert all(isinstance(word, str) for word in citation["keywords"])
    for work in [citation, *citation["references"]]:
        assert isinstance(work["title"], str)
        assert work["authors"]
        assert all({"name", "family-names"} & set(author) for author in work["authors"])
    for work in citation["references"]:
        assert work["type"] in ("article", "conference-paper", "software"), work["title"]
        assert isinstance(work["year"], int)
        for identifier in work.get("identifiers", []):
            assert identifier["type"] == "other"
            assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", identifier["value"])
