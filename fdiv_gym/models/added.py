"""The models that ``fdiv-gym models add`` put into the cache, and the order in which a name is looked up."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdiv_gym.cache import cache_folder
from fdiv_gym.errors import ConfigError, TrainerError, did_you_mean
from fdiv_gym.files import read_text
from fdiv_gym.manifest import damage_of
from fdiv_gym.models.recipes import RECIPES, recipe_of

PROVENANCE = "provenance.json"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")


@dataclass(frozen=True)
class AddedModel:
    """A model in the cache.

    Args:
        name: what ``model.name_or_path`` may be.
        folder: the model folder.
        parameters: number of weights; None if its record cannot be read.
        size_bytes: size of all its files, in bytes.
        source: where it came from.
        license: its licence, as its source names it; empty if it names none.
    """

    name: str
    folder: Path
    parameters: int | None
    size_bytes: int
    source: str
    license: str


def added_models() -> list[AddedModel]:
    """All models in the cache, by name."""
    root = _root()
    folders = sorted(path for path in root.glob("*") if path.is_dir() and NAME.fullmatch(path.name))
    return [_described(folder) for folder in folders]


def remove_model(name: str) -> int:
    """Remove a model from the cache.

    Returns:
        The bytes that this freed.

    Raises:
        ConfigError: no model of that name was added.
        TrainerError: the folder cannot be removed.
    """
    folder = _root() / check_name(name)
    if not folder.is_dir():
        known = [model.name for model in added_models()]
        raise ConfigError(f"no model {name!r} was added ({did_you_mean(name, known)})")
    size = _size(folder)
    try:
        aside = tempfile.mkdtemp(prefix=f".{name}-removed-", dir=folder.parent)
        os.replace(folder, aside)  # at once, so that nobody finds half a model
        shutil.rmtree(aside)
    except OSError as error:
        raise TrainerError(f"cannot remove {folder}: {error}") from None
    return size


def check_name(name: str) -> str:
    """``name`` if it can be the name of an added model.

    Raises:
        ConfigError: it cannot.
    """
    if not NAME.fullmatch(name) or name == "embedded":
        raise ConfigError(
            f"{name!r} cannot name a model: use lower-case letters, digits, '.', '_' and '-', at most 96, the first a "
            "letter or a digit, and not 'embedded'"
        )
    return name


def added_folder(name: str) -> Path:
    """Where a model of that name is, or would be."""
    return _root() / check_name(name)


def known_names() -> list[str]:
    """The names that can be used or added."""
    return sorted({recipe.name for recipe in RECIPES} | {model.name for model in added_models()})


def resolve(name_or_path: str | Path) -> str:
    """What a name stands for: an existing folder, else an added model, else the name itself, a hub id.

    Raises:
        TrainerError: the name is that of a known model that was not added yet.
    """
    name = str(name_or_path)
    if Path(name).is_dir():
        return name
    if NAME.fullmatch(name) and (_root() / name).is_dir():
        return str(_root() / name)
    recipe = recipe_of(name)
    if recipe is not None:
        hint = f"; its name is then {recipe.name!r}" if name != recipe.name else ""
        raise TrainerError(f"model {name!r} was not added yet: run fdiv-gym models add {recipe.package}{hint}")
    return name


def refuse_damaged(folder: str) -> None:
    """Refuse an added model whose files are not those that were stored; any other folder passes.

    Raises:
        TrainerError: naming the file, and the commands that restore the model.
    """
    path = Path(folder)
    if path.parent != _root():
        return
    reason = damage_of(path)
    if reason is not None:
        raise TrainerError(
            f"the added model {path.name!r} is damaged: {reason}; run fdiv-gym models remove {path.name}, then add it "
            "again"
        )


def _root() -> Path:
    return cache_folder() / "models" / "added"


def _described(folder: Path) -> AddedModel:
    record: dict[str, Any] = {}
    try:
        found = json.loads(read_text(folder / PROVENANCE))
        record = found if isinstance(found, dict) else {}
    except (OSError, ValueError, RecursionError):
        record = {"source": f"unknown: {PROVENANCE} cannot be read"}
    parameters = record.get("parameters")
    return AddedModel(
        name=folder.name,
        folder=folder,
        parameters=parameters if isinstance(parameters, int) else None,
        size_bytes=_size(folder),
        source=str(record.get("source", "unknown")),
        license=str(record.get("license", "")),
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
