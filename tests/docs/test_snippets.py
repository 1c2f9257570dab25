"""Every snippet of the pages and the README runs: python blocks in order, titled blocks as files, commands as commands.

``pip install`` and ``pytest`` lines are left to tests/plugins/test_new.py, which runs them for every kind. A command
that would train, evaluate or report is parsed only; tests/docs/test_documented_commands.py parses every command.
"""

from __future__ import annotations

import importlib
import shlex
import sys
import tomllib
import types

import pytest
from docs_pages import DOCS, PAGES, ROOT, Block, blocks, generate, name_of
from typer.testing import CliRunner

from fdiv_gym.bench import RunLimits, expand, parse_matrix
from fdiv_gym.cli.main import app
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.hooks import Registrar
from fdiv_gym.registry.kinds import KINDS
from fdiv_gym.registry.options import build_options
from fdiv_gym.runs.config import load_config, parse_config

WRITTEN = {ROOT / "docs" / page for page in generate.PAGES}
WITH_CODE = [p for p in PAGES if p not in WRITTEN and any(b.language or b.title for b in blocks(p))]
ELSEWHERE = ("pip ", "pytest ", "python -m venv", "make ", "git ", "cd ", ". ", "source ", "#", ".venv/bin/")
LONG = {"guides/conversations/tutorial.md", "guides/plugins/index.md", "guides/plugins/trainer.md"}
"""Pages whose snippets take over five seconds, because they train."""
RUN = ("list", "describe", "check", "new", "plugins")


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """A folder on the import path, an open registry, and nothing left of either afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    before = set(sys.modules)
    with discovery.registry.scoped() as registry:
        yield registry, tmp_path
    sys.modules.pop("snippet", None)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name_of(page), marks=[pytest.mark.slow] if page in {DOCS / name for name in LONG} else [])
        for page in WITH_CODE
    ],
)
def test_every_snippet_runs(page, workshop):
    registry, folder = workshop
    module = sys.modules["snippet"] = types.ModuleType("snippet")  # so that what it defines can be pickled
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.title:
            write(block, folder, registry)
        elif block.language == "python":
            # As many line feeds as stand before it: a traceback shows the line of the page.
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), vars(module))
        elif block.language == "toml":
            check_toml(tomllib.loads(block.text))
        elif block.language == "bash":
            run_commands(block.text, where)


def check_toml(values: dict) -> None:
    """A part of a run file, a whole matrix of a bench, or its table of limits."""
    if "objectives" in values:
        expand(parse_matrix(values))
    elif values.keys() == {"run"}:
        build_options(RunLimits, values["run"], "run")
    else:
        parse_config(completed(values))


def completed(values: dict) -> dict:
    """A part of a run file with the tables that its objective needs, so that it can be read as a run would."""
    if "preferences" in values:
        values.setdefault("objective", {"name": "fdo"})
    objective = values.get("objective", {}).get("name", "f-grpo")
    streams = discovery.registry.get("objective", objective).load().streams
    if "rollouts" in streams:
        values.setdefault("env", {"id": "math/Addition-v0"})
    if "preferences" in streams:
        values.setdefault("preferences", {"path": "examples/preferences/refusal.jsonl"})
    return values


def write(block: Block, folder, registry) -> None:
    """A titled block is a file: a plugin module is registered, a configuration is read as a run would."""
    path = folder / block.title
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".py":
        (path.parent / "__init__.py").touch()
    path.write_text(block.text, encoding="utf-8")
    importlib.invalidate_caches()
    if path.name == "plugin.py":
        module = importlib.import_module(f"{path.parent.name}.plugin")
        module.fdiv_gym_register(Registrar(registry, f"{path.parent.name}:plugin"))
    elif path.suffix == ".toml" and "objectives" in (values := tomllib.loads(block.text)):
        check_toml(values)
    elif path.suffix == ".toml":
        load_config(path)


def run_commands(text: str, where: str) -> None:
    """Commands of fdiv-gym succeed; others must be ones that another test runs."""
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith(ELSEWHERE):
            continue
        words = shlex.split(line, comments=True)
        assert words[0] == "fdiv-gym", f"{where}: no test runs {line!r}"
        command = next(word for word in words[1:] if not word.startswith("-"))
        if command in RUN or "trainer.steps=2" in words:
            result = CliRunner().invoke(app, words[1:])
            assert result.exit_code == 0, f"{where}: {line}\n{result.output}\n{result.exception!r}"
        elif command == "train":
            overrides = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
            load_config(words[2] if words[2].count("/") == 0 else ROOT / words[2], overrides)


def test_a_wrong_key_in_a_part_of_a_run_file_would_be_found():
    from fdiv_gym.errors import ConfigError

    with pytest.raises(ConfigError, match="betta"):
        parse_config(completed({"objective": {"name": "dpo", "betta": 0.1}}))


def test_there_is_a_tutorial_for_every_kind():
    assert set(KINDS) <= {path.stem for path in (ROOT / "docs" / "guides" / "plugins").glob("*.md")}
