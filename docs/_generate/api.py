"""The pages on the kinds of plugins and on the names of ``fdiv_gym``."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path

import fdiv_gym
from _generate.text import NOTE, summary, table
from fdiv_gym.registry import KINDS

ROOT = Path(__file__).parents[2]


@cache
def home(package: str, name: str) -> str:
    """The module that defines a public name of a package, with the name: ``home("fdiv_gym", "Task")``.

    Packages import their public names at first use. The names are read from the import statements.
    """
    folder = ROOT.joinpath(*package.split("."))
    init = folder / "__init__.py"
    if not init.is_file() or (folder / name).is_dir() or (folder / f"{name}.py").is_file():
        return f"{package}.{name}"
    for node in ast.walk(ast.parse(init.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return home(node.module, alias.name)
    return f"{package}.{name}"


def link(package: str, name: str) -> str:
    """A link to the entry of a name."""
    return f"[`{name}`][{home(package, name)}]"


def kinds_page() -> str:
    """The table of kinds."""
    rows = []
    for kind in KINDS.values():
        contract, check = (link(*target.split(":")) for target in (kind.contract, kind.check))
        usage, python = (text.format(name="NAME") for text in (kind.usage, kind.python_usage))
        rows.append((f"`{kind.name}`", contract, f"`{usage}`", f"`{python}`", check))
    lines = [
        NOTE,
        "# Kinds of plugins",
        "",
        "A plugin registers names under these kinds: `registrar.add(KIND, NAME, ...)`. The table is",
        "`fdiv_gym.registry.KINDS`; `fdiv-gym list`, `describe`, `new`, `check` and `fdiv_gym.get_<kind>` read it.",
        "",
        *table(("kind", "contract", "`--set` in a run", "Python", "conformance kit"), rows),
        "",
        "`fg` is `fdiv_gym`. `fg.get(KIND, NAME)` accepts every kind. Options follow the name as keyword arguments in",
        "Python and are in the same table in a file. For a name Python accepts a table, a class or an instance.",
    ]
    return "\n".join(lines) + "\n"


def names_page() -> str:
    """The table of what ``import fdiv_gym as fg`` offers."""
    rows = []
    for name in sorted(fdiv_gym.__all__, key=str.lower):
        if name == "__version__":
            continue
        value = getattr(fdiv_gym, name)
        place = f"[`{name}`][{value.__name__}]" if inspect.ismodule(value) else link("fdiv_gym", name)
        rows.append((place, summary(value)))
    lines = [
        NOTE,
        "# fdiv_gym",
        "",
        "The public names of `import fdiv_gym as fg`. Each name links to the page of the package that defines it.",
        "",
        *table(("name", "summary"), rows),
    ]
    return "\n".join(lines) + "\n"
