"""The page on the command line, from the functions behind the commands."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from typer.models import ArgumentInfo, OptionInfo

from _generate.text import NOTE, STACKED_FROM, STACKED_TO, code, prose, table, value_text
from fdiv_gym.cli.exit_status import ExitStatus
from fdiv_gym.cli.main import app

INTRODUCTION = """\
`fdiv-gym COMMAND --help` shows the same text. `python -m fdiv_gym` is the same program. With `--json` a command prints
JSON to the standard output."""


@dataclass(frozen=True)
class Parameter:
    """One argument or option of a command.

    Args:
        names: as they are typed: ``("--output", "-o")``, or the argument's name.
        value: the type of its value; empty for a flag.
        default: the default; empty if there is none.
        meaning: the help text.
        is_argument: whether it is positional.
        required: whether the command fails without it.
    """

    names: tuple[str, ...]
    value: str
    default: str
    meaning: str
    is_argument: bool
    required: bool


def commands() -> dict[str, Callable[..., Any]]:
    """Every command with the function behind it, in the order of the help; then those of groups, as ``models add``."""
    found = [("", command) for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        found += [(f"{group.name} ", command) for command in group.typer_instance.registered_commands]
    return {f"{prefix}{command.name}": command.callback for prefix, command in found if command.callback}


def parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    """The arguments and options of a command, in the order of its help."""
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        annotation, info = typing.get_args(hints[name])[:2]
        assert isinstance(info, (ArgumentInfo, OptionInfo)), f"{function.__name__}: {name} has no typer annotation"
        required = parameter.default is inspect.Parameter.empty
        is_argument = isinstance(info, ArgumentInfo)
        # typer.Option("--output", "-o") takes the first name for its default.
        names = (name.rstrip("_"),) if is_argument else (str(info.default), *(info.param_decls or ()))
        absent = required or parameter.default is None or parameter.default is False
        default = "" if absent else value_text(parameter.default)
        text = (info.help or "").replace(" (repeatable)", "")
        yield Parameter(names, value_type(annotation), default, text, is_argument, required)


def value_type(annotation: Any) -> str:
    """``str``, ``int``, ``float`` or ``path``; empty for a flag; ``repeatable`` where it may be given several times."""
    if isinstance(annotation, types.UnionType):
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    if typing.get_origin(annotation) is list:
        return f"{value_type(typing.get_args(annotation)[0])}, repeatable"
    return "" if annotation is bool else annotation.__name__.lower()


def section(name: str, function: Callable[..., Any]) -> list[str]:
    """The section of one command."""
    text, _, example = (inspect.getdoc(function) or "").partition("Example: ")
    found = list(parameters(function))
    arguments = [p for p in found if p.is_argument]
    options = [p for p in found if not p.is_argument]
    words = [p.names[0].upper() if p.required else f"[{p.names[0].upper()}]" for p in arguments]
    usage = " ".join(["fdiv-gym", name, *words, "[OPTIONS]"])
    lines = [f"## {name}", "", *described(text), "```text", usage, "```", ""]
    if arguments:
        rows = [
            (f"`{p.names[0].upper()}`", prose(p.meaning), "required" if p.required else "optional") for p in arguments
        ]
        lines += [*table(("argument", "meaning", "needed"), rows), ""]
    if options:
        lines += [*option_table(options), ""]
    if example:
        lines += ["Example:", "", "```text", " ".join(example.split()), "```", ""]
    return lines


def described(text: str) -> list[str]:
    """The paragraphs of a help text; the lines of a list stay lines."""
    lines: list[str] = []
    for paragraph in re.split(r"\n{2,}", text.strip().replace("\b\n", "")):
        items = re.split(r"^- ", paragraph, flags=re.MULTILINE)
        lines += [prose(items[0]), ""] if items[0].strip() else []
        lines += [*(f"- {prose(item)}" for item in items[1:]), ""] if items[1:] else []
    return lines


def option_table(options: list[Parameter]) -> list[str]:
    """The table of options; a flag has no value."""
    rows = []
    for option in options:
        names = ", ".join(f"`{name}`" for name in option.names)
        default = f"`{option.default}`" if option.default else "-"
        rows.append((names, prose(option.meaning), option.value or "flag", default))
    return table(("option", "meaning", "value", "default"), rows)


def exit_status_table() -> list[str]:
    """The table of exit statuses."""
    return table(("exit status", "meaning"), [(code(str(int(status))), prose(status.meaning)) for status in ExitStatus])


def cli_page() -> str:
    """Every command with its arguments, options, defaults and example."""
    settings = app.registered_callback
    assert settings is not None
    assert settings.callback is not None
    before = list(parameters(settings.callback))
    lines = [
        NOTE,
        "# Command line",
        "",
        INTRODUCTION,
        "",
        *exit_status_table(),
        "",
        STACKED_FROM,
        "",
        "Options before the command:",
        "",
        *option_table(before),
        "",
        "`--install-completion` and `--show-completion` install and show the completion of the shell.",
        "",
    ]
    for name, function in commands().items():
        lines += section(name, function)
    return "\n".join([*lines, STACKED_TO]) + "\n"
