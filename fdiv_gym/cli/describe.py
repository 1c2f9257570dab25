"""The command ``fdiv-gym describe``."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdiv_gym.cli.arguments import KIND_LIST, JsonFlag, OptionalName
from fdiv_gym.cli.list import entry_record
from fdiv_gym.cli.screen import echo, secho, write, write_json, write_rows
from fdiv_gym.errors import PluginError
from fdiv_gym.registry.kinds import KINDS, meant_kind

if TYPE_CHECKING:
    import pydantic
    from pydantic.fields import FieldInfo

    from fdiv_gym.registry import Configurable, Entry

BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


TABLES = ("model", "tracker", "preferences")

SubjectArgument = Annotated[
    str,
    typer.Argument(
        help=f"{KIND_LIST}; or a table of a run file: {', '.join(TABLES)}.",
        autocompletion=lambda incomplete: [word for word in (*KINDS, *TABLES) if word.startswith(incomplete)],
    ),
]


def describe(kind: SubjectArgument, name: OptionalName = None, json_: JsonFlag = False) -> None:
    """Describe one name: its purpose, its options with types and defaults, and its plugin.

    A table of a run file takes no name: describe model, describe tracker. describe trainer describes the default one.

    Example: fdiv-gym describe objective f-grpo
    """
    from fdiv_gym.registry.discovery import entry_of
    from fdiv_gym.runs.config import PLUGIN_TABLES

    if kind in TABLES and name is None:
        _describe_table(kind, json_)
        return
    kind = PLUGIN_TABLES[kind][1] if kind in PLUGIN_TABLES else kind
    entry = entry_of(kind, _named(kind, name))
    record = description(entry)
    if json_:
        write_json(record)
    else:
        _show(entry, record)


def _named(kind: str, name: str | None) -> str:
    """The name to describe; without one, that of the default plugin of a table of run files."""
    from fdiv_gym.errors import ConfigError, UnknownNameError
    from fdiv_gym.registry.discovery import discovery
    from fdiv_gym.runs.config import PLUGIN_TABLES

    if kind in TABLES:
        raise ConfigError(f"the table {kind!r} takes no name: fdiv-gym describe {kind}")
    if kind not in KINDS:
        raise UnknownNameError(f"unknown kind or table {kind!r} ({meant_kind(kind, [*KINDS, *TABLES])})")
    if name is not None:
        return name
    defaults = {plugin_kind: default for _, plugin_kind, default in PLUGIN_TABLES.values()}
    default = defaults.get(kind)
    if default is None:
        names = discovery.registry.names(kind)
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise ConfigError(f"which {kind}? give a name (fdiv-gym list {kind}), e.g. one of {shown}")
    return default


def _describe_table(table: str, as_json: bool) -> None:
    """Every key of a table of a run file that names no plugin."""
    options = table_options(table)
    if as_json:
        write_json({"table": table, "options": options})
        return
    secho(f"[{table}]", bold=True)
    write_rows((option["name"], _option_line(option)) for option in options)


def table_options(table: str) -> list[dict[str, Any]]:
    """The keys of ``[model]``, ``[tracker]`` or ``[preferences]``, those of nested tables with dotted names."""
    from fdiv_gym.data import PreferencesConfig
    from fdiv_gym.models import ModelConfig
    from fdiv_gym.runs import TrackerConfig

    models: dict[str, type[pydantic.BaseModel]] = {
        "model": ModelConfig, "tracker": TrackerConfig, "preferences": PreferencesConfig,
    }  # fmt: skip
    return _model_options(models[table])


def _model_options(model: type[pydantic.BaseModel], prefix: str = "") -> list[dict[str, Any]]:
    import pydantic

    options = []
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel):
            options += _model_options(field.annotation, f"{prefix}{key}.")
        else:
            options.append(option_record(prefix + key, field) | {"description": meaning(model, key)})
    return options


def description(entry: Entry) -> dict[str, Any]:
    """Everything there is to know about one name, as JSON values."""
    from fdiv_gym.registry import list_plugins
    from fdiv_gym.registry.messages import cause_of

    plugin = next((p for p in list_plugins() if p.name == entry.plugin), None)
    record = entry_record(entry) | {"version": plugin.version if plugin else "", "preset": dict(entry.options)}
    row = KINDS[entry.kind]
    run, python = (usage.format(name=entry.name) for usage in (row.usage, row.python_usage))
    record |= {"example": {"run": f"fdiv-gym train RUN.toml --set {run}", "python": python}}
    if entry.status != "ok":
        return record | {"doc": "", "options": [], "source": ""}
    plugin_class: type[Configurable] = entry.load()
    try:
        options = _option_records(entry, plugin_class)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{entry.label}: its Options failed: {cause_of(error)}") from error
    return record | {
        "doc": inspect.cleandoc(plugin_class.__doc__ or ""),
        "options": options,
        "source": _source(plugin_class),
    }


def _option_records(entry: Entry, plugin_class: type[Configurable]) -> list[dict[str, Any]]:
    return [
        option_record(key, field)
        | ({"default": plain(entry.options[key]), "required": False} if key in entry.options else {})
        | {"description": meaning(plugin_class.Options, key)}
        for key, field in plugin_class.Options.model_fields.items()
    ]


def option_record(name: str, field: FieldInfo) -> dict[str, Any]:
    """One option: type, bounds and default."""
    from pydantic_core import PydanticUndefined

    required = field.is_required()
    default = None if required else field.get_default(call_default_factory=True)
    bounds = [f"{sign} {getattr(m, key)}" for m in field.metadata for key, sign in BOUNDS.items() if hasattr(m, key)]
    return {
        "name": name,
        "type": type_text(field.annotation),
        "bounds": bounds,
        "required": required,
        "default": None if default is PydanticUndefined else plain(default),
    }


def meaning(model: type[pydantic.BaseModel], name: str) -> str:
    """The description of an option, with its unit; a subclass that only changes the default inherits it."""
    for owner in model.__mro__:
        field = getattr(owner, "model_fields", {}).get(name)
        if field is not None and field.description:
            return " ".join(field.description.replace("``", "").split())
    return ""


def type_text(annotation: Any) -> str:
    """A type in readable form: choices are listed, a reference is ``divergence (name or table)``."""
    import pydantic

    from fdiv_gym.registry import PluginRef

    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_text(parts[0])
    if origin is PluginRef:
        return f"{getattr(parts[0], 'kind', 'plugin')} (name or table)"
    if origin is typing.Literal:
        return " | ".join(repr(part) if isinstance(part, str) else str(part) for part in parts)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(type_text(part) for part in parts))
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)):
        return "table"
    if origin is not None and parts:
        inner = ", ".join("..." if part is Ellipsis else type_text(part) for part in parts)
        return f"{getattr(origin, '__name__', origin)}[{inner}]"
    if annotation is type(None):
        return "unset"
    return getattr(annotation, "__name__", str(annotation))


def plain(value: Any) -> Any:
    """A default in readable form: a reference as its name or table."""
    import pydantic

    from fdiv_gym.registry import PluginRef

    if isinstance(value, PluginRef):
        given = value.raw()
        if isinstance(given, (str, Mapping)):
            return given
        given_class = given if isinstance(given, type) else type(given)
        return f"{given_class.__module__}:{given_class.__qualname__}"
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if type(value) in (tuple, list):
        return type(value)(plain(item) for item in value)
    return value


def _show(entry: Entry, record: Mapping[str, Any]) -> None:
    secho(f"{entry.kind} {entry.name}", bold=True)
    write(record["summary"], indent=2)
    if record["doc"]:
        echo()
        for paragraph in record["doc"].split("\n\n"):
            if paragraph.startswith("  "):  # an example is not wrapped
                echo("\n".join("  " + line for line in paragraph.split("\n")))
            else:
                write(paragraph.replace("``", "").replace("::", ":"), indent=2)
    if record["options"]:
        secho("\noptions", bold=True)
        write_rows((o["name"], _option_line(o)) for o in record["options"])
    secho("\nuse", bold=True)
    echo(f"  {record['example']['run']}\n  {record['example']['python']}")
    secho("\nfrom", bold=True)
    rows = [("plugin", f"{record['plugin']} {record['version']}".rstrip()), ("class", record["target"])]
    rows += [("file", record["source"])] if record["source"] else []
    rows += [("preset", str(record["preset"]))] if record["preset"] else []
    write_rows([*rows, ("status", _status(entry))])


def _status(entry: Entry) -> str:
    if entry.blocked:
        return f"blocked: {entry.blocked}"
    return f"{entry.status}: {entry.pip_line()}" if entry.missing() else entry.status


def _option_line(option: Mapping[str, Any]) -> str:
    default = "required" if option["required"] else f"default {option['default']!r}"
    return f"{' '.join([option['type'], *option['bounds']])}, {default}. {option['description']}"


def _source(plugin_class: type[Any]) -> str:
    try:
        return f"{inspect.getsourcefile(plugin_class)}:{inspect.getsourcelines(plugin_class)[1]}"
    except (OSError, TypeError):
        return ""
