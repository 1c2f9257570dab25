"""The page on the run file: every table with its keys, from the option models behind ``fdiv-gym describe``."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic

from _generate.metrics import own_entries
from _generate.text import LONGEST, NOTE, STACKED_FROM, STACKED_TO, code, escaped, prose, table, value_text
from fdiv_gym.cli.describe import description, meaning, option_record
from fdiv_gym.data import PreferencesConfig
from fdiv_gym.envs import TextEnv
from fdiv_gym.models import ModelConfig
from fdiv_gym.registry import Entry
from fdiv_gym.runs import RunConfig, TrackerConfig
from fdiv_gym.runs.config import PLUGIN_TABLES

INTRODUCTION = """\
A run file is a TOML file with the tables below. `fdiv-gym train FILE --set TABLE.KEY=VALUE` overrides a key. A table
that names a plugin holds the plugin's options beside its name. An unknown key is an error that names the nearest known
key. `fdiv-gym describe KIND NAME` prints the same tables, for plugins of other packages too.

A value of the type *environment*, *divergence*, *judge* and so on, marked "name or table", is the name of a registered
plugin, or a table with `name` and the plugin's options: `divergence = {name = "alpha", alpha = 0.5}`."""

MODELS: dict[str, tuple[str, type[pydantic.BaseModel]]] = {
    "model": ("The policy, and the reference that it starts from.", ModelConfig),
    "preferences": (
        "Preference data. Needed by the objectives that learn from preferences, refused by others.",
        PreferencesConfig,
    ),
    "tracker": ("An experiment tracker beside the files of the run folder. Optional.", TrackerConfig),
}
PLUGIN_TEXTS = {
    "env": "The environment. Needed by objectives that learn from rollouts, and by `fdiv-gym eval`.",
    "engine": "The engine that samples responses.",
    "objective": "The loss.",
    "trainer": "The training loop.",
}
NESTED_KINDS = {
    "divergence": "objective.divergence",
    "advantage": "objective.advantage",
    "aggregation": "objective.aggregation",
    "verifier": "env.verifier",
}


def rows_of(model: type[pydantic.BaseModel], skip: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """One record for each key of a model, as ``fdiv-gym describe`` shows it."""
    return [
        option_record(name, field) | {"description": meaning(model, name)}
        for name, field in model.model_fields.items()
        if name not in skip
    ]


def key_table(records: list[dict[str, Any]]) -> list[str]:
    """The table of keys, and after it the defaults that are too long for a cell; bounds only if a key has some."""
    rows, long = [], []
    bounded = any(record["bounds"] for record in records)
    for record in records:
        default = default_text(record)
        if len(default) > LONGEST:
            long.append((record["name"], default))
            default = "see below"
        elif default not in ("required", "unset", "its own defaults"):
            default = code(default)
        kind = ", ".join(type_cell(part) for part in record["type"].split(" | ")).replace(", unset", " or unset")
        bounds = ", ".join(code(bound) for bound in record["bounds"])
        cells = (code(record["name"]), prose(record["description"]), kind, default)
        rows.append((*cells, bounds or "-") if bounded else cells)
    lines = table(("key", "meaning", "type", "default", *(["bounds"] if bounded else [])), rows)
    for name, default in long:
        lines += ["", f"Default of `{name}`:", "", "```text", default, "```"]
    return lines


def type_cell(text: str) -> str:
    """One alternative of a type, as TOML has it: a choice as a string, a tuple as a list."""
    if text.startswith("'"):
        return code(f'"{text[1:-1]}"')
    text = re.sub(r"^tuple\[(.*), \.\.\.\]$", r"list of \1", text)
    return escaped(re.sub(r"^tuple\[(.*)\]$", r"list [\1]", text))


def default_text(record: Mapping[str, Any]) -> str:
    """``required``, ``unset``, or the value as a TOML file would hold it."""
    if record["required"]:
        return "required"
    if record["type"] == "table" and record["default"]:
        return "its own defaults"
    return "unset" if record["default"] is None else value_text(record["default"])


def nested_models(model: type[pydantic.BaseModel]) -> Iterator[tuple[str, bool, type[pydantic.BaseModel]]]:
    """(key, whether it is a list, model) of the keys that are tables with fixed keys."""
    for name, field in model.model_fields.items():
        for part in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, pydantic.BaseModel):
                yield name, part is not field.annotation and type(None) not in typing.get_args(field.annotation), part


def with_nested(
    path: str, level: int, model: type[pydantic.BaseModel], records: list[dict[str, Any]] | None = None
) -> list[str]:
    """The table of a model and those of the tables in it."""
    lines = key_table(rows_of(model) if records is None else records)
    for name, several, inner in nested_models(model):
        shown = f"`[[{path}.{name}]]`" if several else f"`[{path}.{name}]`"
        lines += ["", f"{'#' * level} {shown}", "", *with_nested(f"{path}.{name}", level + 1, inner)]
    return lines


def entry_section(names: list[str], entry: Entry, path: str, skip: tuple[str, ...]) -> list[str]:
    """The section of one registered name, or of several alike: summary, keys, and the tables in it."""
    heading, summary = entry.name, entry.summary
    if len(names) > 1:
        heading = f"{entry.name.partition('/')[0]}/NAME-v0"
        summary = f"{len(names)} names with the same keys, {names[0]} to {names[-1]}: `fdiv-gym list {entry.kind}`"
        skip = (*skip, *entry.options)
    records = [record for record in description(entry)["options"] if record["name"] not in skip]
    lines = [f"### `{heading}`", "", prose(summary), ""]
    if not records:
        return [*lines, "No keys of its own.", ""]
    return [*lines, *with_nested(path, 4, entry.load().Options, records), ""]


def entries_of(kind: str) -> list[tuple[list[str], Entry]]:
    """The names of a kind; those of one class that differ only in one preset key share a section."""
    found: dict[object, tuple[list[str], Entry]] = {}
    for entry in own_entries():
        if entry.kind == kind:
            alike = (entry.target_text, *entry.options) if len(entry.options) == 1 else entry.name
            found.setdefault(alike, ([], entry))[0].append(entry.name)
    return list(found.values())


def plugin_table(name: str) -> list[str]:
    """The section of a table that names a plugin."""
    key, kind, default = PLUGIN_TABLES[name]
    common: list[dict[str, Any]] = [
        {
            "name": key,
            "type": "str",
            "bounds": [],
            "required": default is None,
            "default": default,
            "description": f"The {kind}'s name: `fdiv-gym list {kind}`.",
        }
    ]
    skip: tuple[str, ...] = ()
    if kind == "environment":
        common += rows_of(TextEnv.Options)
        skip = tuple(TextEnv.Options.model_fields)
    lines = [f"## `[{name}]`", "", PLUGIN_TEXTS[name], "", *key_table(common), ""]
    for names, entry in entries_of(kind):
        lines += entry_section(names, entry, name, skip)
    return lines


def model_table(name: str) -> list[str]:
    """The section of a table with fixed keys."""
    about, model = MODELS[name]
    return [f"## `[{name}]`", "", about, "", *with_nested(name, 3, model), ""]


def configuration_page() -> str:
    """Every table of a run file."""
    seed = option_record("seed", RunConfig.model_fields["seed"])
    seed["description"] = "Seed of the run: the draws of tasks, responses and preference data follow from it."
    lines = [NOTE, "# Configuration keys", "", INTRODUCTION, "", STACKED_FROM, ""]
    lines += ["## `seed`", "", *key_table([seed]), ""]
    lines += plugin_table("env")
    lines += [
        "## `[judge]`",
        "",
        "The judge of the environment: the same as `[env.judge]`, for environments with an option `judge`.",
        "The key `name` is required.",
        "",
    ]
    for names, entry in entries_of("judge"):
        lines += entry_section(names, entry, "judge", ())
    for name in ("model", "engine", "objective", "trainer", "preferences", "tracker"):
        lines += plugin_table(name) if name in PLUGIN_TABLES else model_table(name)
    lines += [
        "## `[[callbacks]]`",
        "",
        "Callbacks of the run, each a table with the required key `name` and the callback's options;",
        "`fdiv-gym list callback` shows those of other packages too.",
        "",
    ]
    for names, entry in entries_of("callback"):
        lines += entry_section(names, entry, "callbacks", ())
    for kind, where in NESTED_KINDS.items():
        plural = f"{kind.capitalize()}s" if kind != "divergence" else "Divergences"
        lines += [f"## {plural}", "", f"Options of a {kind} that `{where}` names, in a table beside `name`.", ""]
        for names, entry in entries_of(kind):
            lines += entry_section(names, entry, where, ())
    return "\n".join([*lines, STACKED_TO]) + "\n"
