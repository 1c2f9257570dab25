"""The page on objectives says what is true: every example parses, every objective and check has its place."""

import re
import tomllib
from pathlib import Path

import pytest

import fdiv_gym as fg
from fdiv_gym.testing import check_objective

PAGE = (Path(__file__).parents[2] / "docs" / "theory" / "objectives.md").read_text(encoding="utf-8")
TABLES = [tomllib.loads(block)["objective"] for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "objectives").glob("*.toml"))


def first_party(kind):
    return {e.name for e in fg.list_entries(kind) if e.plugin.endswith((":core", ":baselines", ":gprl"))}


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t["name"])
def test_example_of_the_page(table):
    assert fg.get_objective(table).options


def test_every_objective_has_an_example_and_a_section():
    assert {table["name"] for table in TABLES} == first_party("objective")
    assert set(re.findall(r"^## ([a-z0-9-]+)$", PAGE, re.MULTILINE)) == first_party("objective")


def test_every_advantage_aggregation_and_check_is_listed():
    cells = {cell for line in re.findall(r"^\| (.*?) \|", PAGE, re.MULTILINE) for cell in re.findall(r"[\w+-]+", line)}
    checks = {check.name for check in check_objective(fg.get_objective("f-hal")).checks}
    assert first_party("advantage") | first_party("aggregation") | checks <= cells


def test_the_objective_of_the_page_conforms():
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    scope = {}
    exec(compile(source, "objectives.md", "exec"), scope)
    report = check_objective(scope["Mine"]())
    assert report.ok, report.text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_file(path):
    config = fg.load_config(path)
    assert config.objective.name == path.stem
    tables = {"rollouts": config.env, "preferences": config.preferences}
    assert {stream for stream, table in tables.items() if table is not None} == set(config.objective.build().streams)


def test_every_objective_has_an_example_file():
    assert {path.stem for path in EXAMPLES} == first_party("objective")
