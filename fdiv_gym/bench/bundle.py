"""Bundles: what is published of a bench, so that others can recompute its numbers without training."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdiv_gym.bench.bundle_collect import Collector
from fdiv_gym.bench.bundle_derived import renderer, version_of, write_derived
from fdiv_gym.bench.bundle_files import (
    FORMAT,
    MANIFEST,
    MATRIX,
    REPORT,
    SAMPLES,
    Bundle,
    json_text,
    write_text,
)  # fmt: skip
from fdiv_gym.bench.matrix import load_matrix
from fdiv_gym.bench.results import ranges_of
from fdiv_gym.errors import BenchError
from fdiv_gym.manifest import sha256_of
from fdiv_gym.registry.messages import printable, shorten

LIMIT_MB = 10.0
LEAST_FIRST = (
    f"{REPORT}/figures/divergence-", f"{REPORT}/figures", f"{SAMPLES}/tuning", f"{SAMPLES}/controls/untrained",
    f"{SAMPLES}/controls", f"{SAMPLES}/cells",
)  # fmt: skip
"""What is left out first where there is a limit; of each, the last by name first. The page of the report has every
figure, so that those files are a second copy."""


def write_bundle(folder: str | Path, output: str | Path | None = None, *, limit_mb: float | None = LIMIT_MB) -> Path:
    """Write what is published of a finished bench.

    The same folder gives the same bytes. Paths, hosts that are not public, and secrets are replaced; samples that hold
    any are left out, as are those that do not fit below the limit. The manifest names them with their SHA-256.

    Args:
        folder: of the bench.
        output: the bundle; by default ``bundle`` in the folder. An earlier bundle there is replaced at once.
        limit_mb: megabytes (10^6 bytes) of the whole; None for any number.

    Returns:
        The bundle.

    Raises:
        BenchError: cells have not been run, the folder contradicts itself, ``output`` is something else than a bundle,
            or the limit cannot be held.
        ConfigError: the matrix or a record is wrong.
        MissingExtraError: a package of the report is missing.
        TrainerError: a file cannot be read or written.
    """
    folder = Path(folder)
    output = folder / "bundle" if output is None else Path(output)
    _refuse_other_content(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
        try:
            staging.chmod(0o755)
            private = _written(folder, staging)
            seal_bundle(staging, _too_large(staging, limit_mb, private))
            _replace(staging, output)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise BenchError(f"cannot write the bundle {output}: {error.strerror or error}") from None
    return output


def _refuse_other_content(output: Path) -> None:
    """Refuse a place that holds anything but an earlier bundle, because what lies there is removed.

    Raises:
        BenchError: naming what it holds.
    """
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not output.is_dir() or not (output / MANIFEST).is_file():
        raise BenchError(f"{output} exists and is no bundle: name another folder")
    bundle = Bundle(output)
    try:
        manifest, names = bundle.json(MANIFEST), bundle.names()
    except BenchError as error:
        raise BenchError(f"{output} exists and is no bundle ({error}): name another folder") from None
    files = manifest.get("files")
    if manifest.get("format") != FORMAT or not isinstance(files, Mapping):
        raise BenchError(f"{output} exists and its {MANIFEST} is not that of a bundle: name another folder")
    others = [name for name in names if name not in files and name != MANIFEST]
    if others:
        raise BenchError(
            f"{output} holds {shorten(others[0])}, which is no part of the bundle there and would be removed: move it "
            "away, or name another folder"
        )


def _written(folder: Path, staging: Path) -> list[str]:
    """Write everything but the manifest; returns the files that hold what is private.

    Raises:
        BenchError: also for a file of the folder with values that no program of ours writes.
    """
    try:
        private = Collector(folder, staging).collect()
        write_derived(staging, ranges_of(load_matrix(folder / MATRIX)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BenchError(
            f"no bundle can be made of {folder} ({type(error).__name__}: {printable(str(error))[:200]}). If a file in "
            "it was altered, remove the folder of its cell, tuning.json or untrained.json, and start the bench again"
        ) from error
    return private


def _too_large(staging: Path, limit_mb: float | None, private: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Remove samples that are private, and files beyond the limit; returns what the manifest says of them."""
    left_out = {name: _removed(staging, name, "private") for name in private}
    if limit_mb is None:
        return left_out
    names = Bundle(staging).names()
    size = sum((staging / name).stat().st_size for name in names) + len(manifest_text(staging, names, left_out))
    order = [name for name in names if name.startswith(LEAST_FIRST)]
    order.sort(key=lambda name: (-_importance(name), name))
    while order and size > limit_mb * 1e6:
        name = order.pop()
        left_out[name] = _removed(staging, name, "size")
        size -= left_out[name]["size"] - len(', "why": "size"')
    if size > limit_mb * 1e6:
        raise BenchError(
            f"the bundle has {size / 1e6:.1f} MB without any samples and figures, more than {limit_mb:g}: raise "
            "--limit-mb"
        )
    return left_out


def _importance(name: str) -> int:
    return next(number for number, start in enumerate(LEAST_FIRST) if name.startswith(start))


def _removed(staging: Path, name: str, why: str) -> dict[str, Any]:
    path = staging / name
    found = {"sha256": sha256_of(path), "size": path.stat().st_size, "why": why}
    path.unlink()
    return found


def seal_bundle(folder: Path, left_out: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the manifest: the SHA-256 and size of every file, and of what was left out."""
    names = [name for name in Bundle(folder).names() if name != MANIFEST]
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
    write_text(folder, MANIFEST, manifest_text(folder, names, left_out))


def manifest_text(folder: Path, names: Sequence[str], left_out: Mapping[str, Any]) -> str:
    """The text of the manifest."""
    files = {name: {"sha256": sha256_of(folder / name), "size": (folder / name).stat().st_size} for name in names}
    tools = {"renderer": renderer(), "matplotlib": version_of("matplotlib")}
    return json_text({"format": FORMAT, **tools, "files": files, "left_out": dict(sorted(left_out.items()))})


def _replace(staging: Path, output: Path) -> None:
    """Give the finished bundle its name; an earlier one is moved away first, since no folder replaces a full one."""
    old = None
    if output.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
        os.replace(output, old / "old")
    os.replace(staging, output)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
