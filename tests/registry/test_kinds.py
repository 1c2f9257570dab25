"""A kind is one row: with it, list, describe, new, check and ``fg.get`` support plugins of that kind."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.registry import KINDS, Kind, Template
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.kinds import import_string

PACKAGE = "temporary_kind"

CONTRACT = '''
"""The package of the kind "sampler": its contract and its kit."""

from typing import ClassVar

import fdiv_gym as fg
from fdiv_gym.registry import Configurable
from fdiv_gym.testing import CannotCheckError, Report


class Sampler(Configurable):
    kind: ClassVar[str] = "sampler"

    def pick(self, count: int) -> int:
        raise NotImplementedError


class First(Sampler):
    """Picks the first."""

    class Options(fg.Options):
        """Options."""

        offset: int = 0
        """Where to begin."""

        penalty: fg.PluginRef[fg.Divergence] = fg.PluginRef({"name": "kl", "link": "calibrated"})
        """The cost."""

    def pick(self, count: int) -> int:
        return self.options.offset


class Absent(Sampler):
    """Requires missing data."""

    def pick(self, count: int) -> int:
        raise FileNotFoundError


def check_sampler(sampler: Sampler) -> Report:
    report = Report(f"sampler {sampler.registered_name()!r}")
    try:
        picked = sampler.pick(3)
    except FileNotFoundError:
        raise CannotCheckError("no data to pick from") from None
    report.check("range", 0 <= picked < 3, f"picked {picked} of 3")
    return report
'''

TEMPLATE = '''
"""A sampler."""

from temporary_kind import Sampler


class @class@(Sampler):
    """Picks the last."""

    def pick(self, count: int) -> int:
        """The number of the last."""
        return count - 1
'''

ROW = Kind(
    "sampler",
    contract=f"{PACKAGE}:Sampler",
    check=f"{PACKAGE}:check_sampler",
    template=Template(f"{PACKAGE}:sampler.py.tmpl", "the last one", torch=False),
    usage="trainer.sampler={name}",
)


@pytest.fixture
def sampler(tmp_path, monkeypatch):
    """The kind, with two plugins."""
    folder = tmp_path / "package" / PACKAGE
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(CONTRACT)
    (folder / "sampler.py.tmpl").write_text(TEMPLATE)
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setitem(KINDS, "sampler", ROW)
    with discovery.registry.scoped() as registry:
        registrar = fg.Registrar(registry, "thirdparty:plugin")
        registrar.add("sampler", "first", f"{PACKAGE}:First", summary="the first one")
        registrar.add("sampler", "fourth", f"{PACKAGE}:First", options={"offset": 3})
        registrar.add("sampler", "absent", f"{PACKAGE}:Absent")
        yield registry
    for module in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[module]


@pytest.fixture
def cli(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == status, result.output
        return result.stdout

    return run


def test_get(sampler):
    assert fg.get("sampler", "first").pick(3) == 0
    assert fg.get_sampler("first", offset=2).pick(3) == 2
    assert fg.get_sampler({"name": "fourth"}).pick(3) == 3
    with pytest.raises(fg.UnknownNameError, match=r"unknown sampler 'fist' \(did you mean 'first'"):
        fg.get_sampler("fist")


def test_list(sampler, cli):
    assert cli("list", "sampler").splitlines()[:2] == ["sampler", "  absent  (thirdparty:plugin)"]
    assert "  first   the first one (thirdparty:plugin)" in cli("list").splitlines()


def test_describe(sampler, cli):
    record = json.loads(cli("describe", "sampler", "first", "--json"))
    offset, penalty = record["options"]
    assert (offset["type"], offset["default"], offset["description"]) == ("int", 0, "Where to begin.")
    assert (penalty["type"], penalty["default"]) == (
        "divergence (name or table)",
        {"name": "kl", "link": "calibrated"},
    )
    assert record["example"] == {
        "run": "fdiv-gym train RUN.toml --set trainer.sampler=first",
        "python": 'fg.get_sampler("first")',
    }
    assert "Picks the first." in cli("describe", "sampler", "first")


def test_check(sampler, cli):
    assert cli("check", "sampler", "first") == "passed  sampler first  (1 checks)\n"
    found = {r["name"]: r for r in json.loads(cli("check", "sampler", "--json", status=1))}
    assert {name: record["status"] for name, record in found.items()} == {
        "absent": "skipped",
        "first": "passed",
        "fourth": "failed",
    }
    assert found["absent"]["reason"] == "no data to pick from"
    assert found["fourth"]["reports"][0]["checks"] == [{"name": "range", "passed": False, "message": "picked 3 of 3"}]
    result = CliRunner().invoke(app, ["check", "sampler", "absent"])
    assert str(result.exception) == "no data to pick from"  # an error, because the name was given


def test_new(sampler, cli, tmp_path, monkeypatch):
    folder = tmp_path / "generated"
    cli("new", "sampler", "my-sampler", "--directory", str(folder))
    assert "fdiv-gym train RUN.toml --set trainer.sampler=my-sampler" in (folder / "README.md").read_text()
    assert '"fdiv-gym>=' in (folder / "pyproject.toml").read_text()
    monkeypatch.syspath_prepend(folder)
    import_string("my_sampler.plugin:fdiv_gym_register")(fg.Registrar(sampler, "my-sampler:plugin"))
    assert fg.get_sampler("my-sampler").pick(3) == 2
    own_tests: dict[str, object] = {}
    exec(textwrap.dedent((folder / "tests" / "test_my_sampler.py").read_text()), own_tests)
    for name in ("test_it_is_found", "test_it_conforms"):
        own_tests[name]()  # type: ignore[operator]


def test_every_row_is_consistent():
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.load_contract().kind == name
        assert callable(import_string(kind.check))
        assert "{name}" not in kind.usage.format(name="x")


def test_without_the_row_the_kind_is_unknown():
    with pytest.raises(AttributeError, match="get_sampler"):
        _ = fg.get_sampler
    with pytest.raises(fg.UnknownNameError, match="unknown kind 'sampler'"):
        fg.get("sampler", "first")


@pytest.mark.parametrize("command", ["list", "describe", "check"])
def test_a_conversation_is_an_environment(command):
    name = ["me/Name-v0"] * (command != "list")
    with pytest.raises(fg.UnknownNameError, match="a conversation is an 'environment'"):
        CliRunner().invoke(app, [command, "conversation", *name], catch_exceptions=False)
