"""The reference documents every public name of the core's packages, and its tables are those of the code."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re

import pytest
from docs_pages import ROOT, generate

import fdiv_gym
from fdiv_gym.registry import KINDS

REFERENCE = ROOT / "docs" / "reference"
SHELVES = ("envs", "trainers", "plugins")
PACKAGES = [
    f"fdiv_gym.{module.name}"
    for module in pkgutil.iter_modules(fdiv_gym.__path__)
    if module.ispkg and module.name != "cli"  # commands, on a page of their own
]


def names_used(source: str) -> set[tuple[str, str]]:
    """(package, name) of what a module imports from the core or reads from ``import fdiv_gym as fg``."""
    tree = ast.parse(source)
    aliases = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "fdiv_gym"
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "fdiv_gym":
            found |= {(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {tuple(a.name.rsplit(".", 1)) for a in node.names if a.name.startswith("fdiv_gym.")}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            found.add(("fdiv_gym", node.attr))
    return found


def entries() -> list[str]:
    """The identifiers that the reference documents; a module stands for what it defines."""
    pages = sorted(REFERENCE.glob("*.md"))
    return [found for page in pages for found in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)]


def undocumented(used: set[tuple[str, str]]) -> list[str]:
    documented = set(entries())
    homes = {f"{package}.{name}": generate.home(package, name) for package, name in used}
    return sorted(
        f"{name} ({home})" for name, home in homes.items() if not {home, home.rpartition(".")[0]} & documented
    )


def test_what_the_shelves_import_is_documented():
    files = [path for shelf in SHELVES for path in sorted((ROOT / shelf).rglob("*.py"))]
    used = set().union(*(names_used(path.read_text("utf-8")) for path in files))
    assert len(used) > 80
    assert undocumented(used) == [], "add an entry to the page of the room in docs/reference"


@pytest.mark.parametrize("package", ["fdiv_gym", *PACKAGES])
def test_every_public_name_is_documented(package):
    names = importlib.import_module(package).__all__
    assert names
    page = "the page of the package that defines it" if package == "fdiv_gym" else f"{package.partition('.')[2]}.md"
    assert undocumented({(package, name) for name in names if name != "__version__"}) == [], f"add it to {page}"


def test_a_missing_entry_would_be_found():
    source = (
        "import fdiv_gym as fg\nfrom fdiv_gym.models import built as b\nfrom fdiv_gym.types import Task\n"
        "def later(x: fg.Verdict):\n    from fdiv_gym.rewards import run_later\n    return fg.nothing(x.fg)\n"
    )
    used = names_used(source)
    assert used == {
        ("fdiv_gym", "Verdict"), ("fdiv_gym", "nothing"), ("fdiv_gym.models", "built"),
        ("fdiv_gym.rewards", "run_later"), ("fdiv_gym.types", "Task"),
    }  # fmt: skip
    assert undocumented(used) == [
        "fdiv_gym.models.built (fdiv_gym.models.built)",
        "fdiv_gym.nothing (fdiv_gym.nothing)",
        "fdiv_gym.rewards.run_later (fdiv_gym.rewards.run_later)",
    ]


def test_nothing_is_documented_twice():
    found = entries()
    assert len(found) == len(set(found))
    assert [name for name in found if name.rpartition(".")[0] in found] == []


@pytest.mark.parametrize("page", generate.PAGES)
def test_the_generated_pages_are_up_to_date(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert "python docs/generate.py" in text.splitlines()[0]
    assert text == generate.PAGES[page](), "python docs/generate.py"


def test_the_concepts_name_every_kind():
    text = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    section = text.partition("## The kinds")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE) == list(KINDS)
