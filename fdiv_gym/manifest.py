"""Manifests: the SHA-256 of every file of a folder, so that damage on the disk is noticed before the files are used."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from fdiv_gym.files import open_for_reading, read_text

MANIFEST = "manifest.json"
WEIGHTS_AND_STATE = (".safetensors", ".bin", ".pt")


def seal(folder: Path) -> None:
    """Write the manifest of a finished folder, and everything in it to the disk.

    Raises:
        OSError: the disk is full or failed.
    """
    files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in _files(folder)}
    (folder / MANIFEST).write_text(json.dumps({"sha256": files}, indent=2) + "\n", encoding="utf-8")
    for path in [*_files(folder), folder / MANIFEST]:
        _flush(path)
    for path in {path.parent for path in _files(folder)} | {folder}:
        flush_folder(path)


def damage_of(folder: Path) -> str | None:
    """What differs from the manifest, or None: a file is missing or changed; weights, or a pipe, were added."""
    try:
        wanted = _read(folder)
    except FileNotFoundError:
        return f"it has no {MANIFEST}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"its {MANIFEST} cannot be read ({type(error).__name__})"
    for name, digest in wanted.items():
        if not (folder / name).is_file():  # a device or a pipe, named by a hostile manifest, may have no end
            return f"{name} cannot be read (it is missing, or no file)"
        try:
            if sha256_of(folder / name) != digest:
                return f"{name} differs from its SHA-256"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    strange = next((path for path in folder.rglob("*") if not path.is_file() and not path.is_dir()), None)
    if strange is not None:  # who opens a pipe waits for ever
        return f"{strange.relative_to(folder).as_posix()} is not a regular file"
    added = [path.relative_to(folder).as_posix() for path in _files(folder) if path.suffix in WEIGHTS_AND_STATE]
    return next((f"{name} was added" for name in added if name not in wanted), None)


def sealed_names(folder: Path) -> list[str]:
    """The files that a folder had when it was sealed, as paths in it; ``damage_of`` must have found no damage."""
    return [*_read(folder)]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open_for_reading(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, so that a rename survives a loss of power."""
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        _flush(folder)


def _read(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file, from the manifest."""
    files = json.loads(read_text(folder / MANIFEST))["sha256"]
    return {str(name): str(digest) for name, digest in files.items()}


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if path != folder / MANIFEST)
