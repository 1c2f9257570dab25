"""The generated pages have an entry for every command, every configuration key and every metric.

That they equal what the generator writes is checked in test_reference.py; here the code is asked what must be in them.
"""

from __future__ import annotations

import re
import typing

import pydantic
import pytest
import typer.main
from docs_pages import DOCS, ROOT

import fdiv_gym as fg
from fdiv_gym.cli.exit_status import ExitStatus
from fdiv_gym.cli.main import app
from fdiv_gym.registry.kinds import KINDS
from fdiv_gym.runs import GLOSSARY, RunConfig, meanings_of
from fdiv_gym.runs.config import PLUGIN_TABLES

CLI, CONFIGURATION, METRICS = (
    (DOCS / "reference" / page).read_text(encoding="utf-8") for page in ("cli.md", "configuration.md", "metrics.md")
)
GROUP = typer.main.get_command(app)
OWN = [e for kind in KINDS for e in fg.list_entries(kind) if e.distribution == "fdiv-gym" and e.status == "ok"]


def section(page: str, heading: str) -> str:
    """The text from a heading to the next one of its level or above."""
    marks = heading.partition(" ")[0]
    found = re.search(rf"^{re.escape(heading)}$\n(.*?)(?=^#{{1,{len(marks)}}} |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading {heading!r}"
    return found[1]


def keys(text: str) -> set[str]:
    """The first column of the tables in a text."""
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def commands(group, prefix=""):
    """Every command by its words; those of a group such as ``models`` too."""
    found = {}
    for name, command in group.commands.items():
        found |= commands(command, f"{prefix}{name} ") if hasattr(command, "commands") else {f"{prefix}{name}": command}
    return found


@pytest.mark.parametrize(("name", "command"), commands(GROUP).items())
def test_every_command_has_its_arguments_options_and_example(name, command):
    text = section(CLI, f"## {name}")
    for parameter in command.params:
        if parameter.name == "help":
            continue
        for word in parameter.opts:
            assert f"`{word.upper() if parameter.param_type_name == 'argument' else word}`" in text, word
        assert parameter.help
        assert " ".join(parameter.help.replace(" (repeatable)", "").split())[:20] in text
    assert f"fdiv-gym {name} " in text or name == "plugins"
    assert "Example:" in text


def test_every_table_of_a_run_file_has_a_section():
    assert set(RunConfig.model_fields) | {"judge"} == {
        re.sub(r"[\[\]`]", "", heading) for heading in re.findall(r"^## (`.*`)$", CONFIGURATION, re.MULTILINE)
    }


@pytest.mark.parametrize("entry", OWN, ids=lambda e: e.label)
def test_every_option_of_a_plugin_has_an_entry(entry):
    tables = {kind: name for name, (_, kind, _) in PLUGIN_TABLES.items()} | {"judge": "judge"}
    if entry.kind == "callback":
        within = section(CONFIGURATION, "## `[[callbacks]]`")
    elif entry.kind in tables:
        within = section(CONFIGURATION, f"## `[{tables[entry.kind]}]`")
    else:
        within = section(CONFIGURATION, f"## {entry.kind.capitalize()}s")
    name = "reasoning/NAME-v0" if entry.name.startswith("reasoning/") else entry.name
    shown = section(within, f"### `{name}`")
    expected = set(entry.load().Options.model_fields)
    if entry.kind == "environment":
        expected -= set(fg.TextEnv.Options.model_fields)
    if entry.name.startswith("reasoning/"):
        expected -= set(entry.options)
    assert expected <= keys(shown)


def test_every_key_of_the_other_tables_has_an_entry():
    for name, field in RunConfig.model_fields.items():
        for model in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(model, type) and issubclass(model, pydantic.BaseModel):
                text = section(CONFIGURATION, f"## `[{name}]`")
                assert set(model.model_fields) <= keys(text)
                for key, inner in model.model_fields.items():
                    if isinstance(inner.annotation, type) and issubclass(inner.annotation, pydantic.BaseModel):
                        assert set(inner.annotation.model_fields) == keys(section(text, f"### `[{name}.{key}]`"))


def faults(meaning: str) -> list[str]:
    """What is wrong with the meaning of a key; it may begin with values of the key: ``train: ...``, ``cpu, ...``."""
    text = meaning.strip()
    wrong = [] if text[:1].isupper() or re.match(r"[\w-]+( \([^)]*\))?[,:] ", text) else ["no capital letter"]
    wrong += [] if text.endswith(".") else ["no full stop"]
    wrong += [] if len(text.split()) >= 2 else ["one word"]
    return wrong + re.findall(r"\b(?:todo|tbd|fixme)\b", text, re.IGNORECASE)


def test_every_key_says_what_it_means():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|.*\|$", CONFIGURATION, re.MULTILINE)
    assert len(rows) > 150
    assert {key: faults(meaning) for key, meaning in rows if faults(meaning)} == {}


def test_every_option_of_a_command_says_what_it_means():
    rows = re.findall(r"^\| (`-.*?`|`[A-Z]+`) \| ([^|]*) \|.*\|$", CLI, re.MULTILINE)
    assert len(rows) > 30
    assert {key: faults(meaning) for key, meaning in rows if faults(meaning)} == {}


@pytest.mark.parametrize("meaning", ["todo", "Todo: describe.", "the seed of the run.", "The seed of the run", "Seed."])
def test_an_empty_meaning_would_be_found(meaning):
    assert faults(meaning)


def test_every_exit_status_is_named_and_documented():
    assert {int(code) for code in re.findall(r"^\| `(\d+)` \| .+\. \|$", CLI, re.MULTILINE)} == set(ExitStatus)
    for path in sorted((ROOT / "fdiv_gym" / "cli").glob("*.py")):
        exits = re.findall(r"(?:sys\.exit|typer\.Exit)\((.*?)\)", path.read_text(encoding="utf-8"))
        assert [code for code in exits if not code.startswith("ExitStatus.")] == [], path.name


def test_every_metric_has_an_entry():
    for term in GLOSSARY:
        assert term.key in keys(section(METRICS, f"## {term.where}"))
    own = section(METRICS, "## Keys of plugins")
    assert {key for entry in OWN for key in meanings_of(entry.load())} == keys(own)
