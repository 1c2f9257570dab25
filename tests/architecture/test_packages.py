"""The structure of the code: public names of the packages, and no import cycle among the files of any package."""

from __future__ import annotations

import ast
import graphlib
import importlib
import pkgutil
import tomllib
from pathlib import Path

import grimp
import pytest

import fdiv_gym

ROOT = Path(__file__).parents[2]
CORE = sorted(m.name for m in pkgutil.iter_modules(fdiv_gym.__path__) if m.ispkg)
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]


def type_checking_names(module) -> set[str]:
    """The names that a package's ``if TYPE_CHECKING:`` block imports."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    blocks = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    imports = [n for block in blocks for n in block.body if isinstance(n, ast.ImportFrom)]
    assert all(alias.asname == alias.name for n in imports for alias in n.names)
    return {alias.name for n in imports for alias in n.names}


@pytest.mark.parametrize("package", [package for package in CORE if package != "cli"])
def test_the_public_names_of_a_package_are_complete(package):
    module = importlib.import_module(f"fdiv_gym.{package}")
    assert module.__doc__
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None, name
    eager = {name for name in vars(module) if name in module.__all__ and name not in type_checking_names(module)}
    assert set(module.__all__) - eager == type_checking_names(module)


@pytest.mark.parametrize("package", CORE)
def test_no_exported_name_is_a_module(package):
    # Importing the module would replace the exported object by the module.
    module = importlib.import_module(f"fdiv_gym.{package}")
    modules = {m.name for m in pkgutil.iter_modules(module.__path__)}
    assert not modules & set(getattr(module, "__all__", ()))


def test_the_public_names_of_the_core_are_complete():
    lazy = type_checking_names(fdiv_gym)
    assert lazy <= set(fdiv_gym.__all__)
    for name in fdiv_gym.__all__:
        assert getattr(fdiv_gym, name) is not None, name


def test_an_unknown_name_is_named_in_the_error():
    with pytest.raises(AttributeError, match=r"module 'fdiv_gym\.rewards' has no attribute 'nothing'"):
        _ = importlib.import_module("fdiv_gym.rewards").nothing


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_cycle_among_files(package):
    graph = grimp.build_graph(package, cache_dir=None)
    sorter = graphlib.TopologicalSorter({m: graph.find_modules_directly_imported_by(m) for m in graph.modules})
    sorter.prepare()  # raises CycleError, which names the cycle


def test_a_planted_cycle_is_found():
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()


def test_every_package_is_under_the_contracts():
    plugins = {p.parent.name for root in ("envs", "trainers", "plugins") for p in (ROOT / root).glob("*/__init__.py")}
    assert set(PACKAGES) == {"fdiv_gym", *plugins}
