"""The command ``fdiv-gym new``: a complete plugin package from templates."""

from __future__ import annotations

import importlib.util
import keyword
import re
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from fdiv_gym.cli.arguments import TemplateArgument
from fdiv_gym.cli.screen import echo
from fdiv_gym.errors import ConfigError, did_you_mean
from fdiv_gym.registry.kinds import Kind, Template, templates
from fdiv_gym.version import __version__

SHARED = "fdiv_gym.cli.templates:"
TORCH = ', requires=["torch"]'


def new(
    kind: TemplateArgument,
    name: Annotated[str, typer.Argument(help="The name to register; for an environment namespace/Name-v0.")],
    directory: Annotated[
        Path | None, typer.Option("--directory", "-d", help="The folder to write; default: named like the package.")
    ] = None,
) -> None:
    """Write a complete, installable plugin package from a template.

    Example: fdiv-gym new divergence my-divergence
    """
    write_package(kind, name, directory)


def write_package(kind: str, name: str, directory: Path | None) -> None:
    """Write the package and print the next commands.

    Raises:
        ConfigError: an unknown template, a name that cannot be used, or a folder that is not empty.
    """
    known = templates()
    if kind not in known:
        raise ConfigError(f"there is no template for {kind!r} ({did_you_mean(kind, known)})")
    words = fill_in(kind, name)
    folder = directory if directory is not None else Path(words["dist"])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} already exists: choose another --directory")
    try:
        for path, text in files(known[kind][1], words).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(filled(text, words), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror or error}") from None
    echo(f"wrote {folder}: {words['module']}/{words['file']}.py contains the class\n")
    echo(f"  pip install -e '{folder}[test]'\n  pytest {folder}\n  fdiv-gym describe {words['kind']} {words['name']}")


def files(template: Template, words: dict[str, str]) -> dict[str, str]:
    """Relative path -> text with placeholders."""
    module = words["module"]
    return {
        "pyproject.toml": template_text(SHARED + "pyproject.toml.tmpl"),
        "README.md": template_text(SHARED + "README.md.tmpl"),
        f"{module}/__init__.py": '"""@Article@ @kind@ for fdiv-gym."""\n',
        f"{module}/plugin.py": template_text(SHARED + "plugin.py.tmpl"),
        f"{module}/{words['file']}.py": template_text(template.file),
        f"tests/test_{module}.py": template_text(SHARED + "test.py.tmpl"),
    }


def fill_in(wanted: str, name: str) -> dict[str, str]:
    """The value of every placeholder of the templates.

    Args:
        wanted: the name of the template.
        name: the name to register.

    Raises:
        ConfigError: the name cannot name a package, or is already registered.
    """
    kind, template = templates()[wanted]
    external = kind.load_external_registry()
    name, package, stem = external.new_name(name) if external is not None else (name, name, name)
    module = re.sub(r"[-.]+", "_", package).lower()
    # A distribution's name cannot end in a dash, and the folder tests is already used. Some letters outside
    # ASCII become ASCII letters in lower case.
    plausible = name.isascii() and re.fullmatch(r"[a-z]([a-z0-9_]*[a-z0-9])?", module)
    if not plausible or keyword.iskeyword(module) or module == "tests":
        raise ConfigError(f"{name!r} cannot name a package: use letters, digits and dashes, and start with a letter")
    _refuse_taken(kind, name, module)
    article = "an" if kind.name[0] in "aeiou" else "a"
    check_module, _, check = kind.check.partition(":")
    return {
        "kind": kind.name,
        "name": name,
        "dist": module.replace("_", "-"),
        "module": module,
        "file": wanted,
        "class": usable_class(template, stem),
        "article": article,
        "Article": article.capitalize(),
        "check": check,
        "check_module": check_module,
        "summary": template.summary,
        "requires": TORCH if template.torch else "",
        "requirement": "fdiv-gym[train]" if template.torch else "fdiv-gym",
        "version": ".".join(__version__.split(".")[:2]),
        "use": f"fdiv-gym train RUN.toml --set {kind.usage.format(name=name)}",
    }


def filled(text: str, words: dict[str, str]) -> str:
    """A template's text with its placeholders replaced."""
    return re.sub(r"@(\w+)@", lambda match: words[match.group(1)], text)


def template_text(file: str) -> str:
    """The text of a template, named ``"package:file"``."""
    package, _, path = file.partition(":")
    return resources.files(package).joinpath(path).read_text(encoding="utf-8")


def usable_class(template: Template, stem: str) -> str:
    """The class name of a plugin; ``My`` is prefixed to names that Python or the template already uses."""
    wanted = class_name(stem)
    means_otherwise = keyword.iskeyword(wanted) or re.search(rf"\b{wanted}\b", template_text(template.file))
    return wanted if wanted.isidentifier() and not means_otherwise else f"My{wanted}"


def class_name(name: str) -> str:
    """``my-divergence`` -> ``MyDivergence``."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))


def _refuse_taken(kind: Kind, name: str, module: str) -> None:
    from fdiv_gym.registry.discovery import discovery

    if name in discovery.registry.names(kind.name):
        entry = discovery.registry.get(kind.name, name)
        raise ConfigError(f"{kind.name} {name!r} is already registered by {entry.plugin}: choose another name")
    if importlib.util.find_spec(module) is not None:
        raise ConfigError(f"a package {module!r} is already installed: choose another name")
