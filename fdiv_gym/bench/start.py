"""The folder of a bench: the matrix that it was started with, and what it was started on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.matrix import Matrix, load_matrix
from fdiv_gym.errors import ConfigError
from fdiv_gym.files import open_for_reading, replacing
from fdiv_gym.runs.changes import differences, listed
from fdiv_gym.runs.config import dotted
from fdiv_gym.runs.folder import WRITER, RunFolder
from fdiv_gym.runs.provenance import PACKAGES
from fdiv_gym.version import __version__

MATRIX = "matrix.toml"
BENCH = "bench.json"
LARGEST_MATRIX = 2**24
"""Bytes of a matrix file."""
OWN_PACKAGES = ("scipy", "optuna", "ray", "peft", "vllm", "psutil")
"""Packages of the bench, beside those that a run records."""
FREE = "run"
"""The table of a matrix that may differ when a bench is started again: it says where cells run."""


def matrix_for(matrix_path: Path, folder: Path) -> Matrix:
    """The matrix of a file, with which a bench in the folder may be started or gone on with. Nothing is written.

    Raises:
        ConfigError: the file is wrong, or the folder belongs to another matrix; the message names what differs.
        TrainerError: the folder cannot be read.
    """
    matrix = load_matrix(matrix_path)
    with RunFolder(folder).writing(MATRIX):
        if (folder / MATRIX).exists():
            _refuse_another(folder / MATRIX, _text(matrix_path))
            return matrix
        others = sorted(path.name for path in folder.iterdir() if path.name != WRITER) if folder.exists() else []
        if others:
            raise ConfigError(f"{folder} holds something other than a bench ({', '.join(others[:3])}): choose another")
    return matrix


def open_bench(matrix_path: Path, folder: Path) -> Matrix:
    """The matrix of a file; the folder gets a copy of it, and none of another comparison.

    Raises:
        ConfigError: as for ``matrix_for``.
        TrainerError: the folder cannot be written.
    """
    matrix = matrix_for(matrix_path, folder)
    with RunFolder(folder).writing(MATRIX):
        if not (folder / MATRIX).exists():
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / MATRIX) as file:
                file.write(_text(matrix_path))
    return matrix


def _text(path: Path) -> str:
    with open_for_reading(path) as file:
        content = file.read(LARGEST_MATRIX + 1)
    if len(content) > LARGEST_MATRIX:
        raise ConfigError(f"{path} has more than {LARGEST_MATRIX // 2**20} MB: it is no matrix")
    return content.decode("utf-8")


def _refuse_another(path: Path, text: str) -> None:
    try:
        known, given = ({k: v for k, v in tomllib.loads(t).items() if k != FREE} for t in (_text(path), text))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is damaged: {error}") from None
    if known != given:
        changed = differences(dotted(_by_label(known)), dotted(_by_label(given)))
        raise ConfigError(
            f"{path.parent} belongs to another matrix: {listed(changed) or 'the order of its tables'}. Choose another "
            f"folder, or start it again with {path}"
        )


def _by_label(value: Any) -> Any:
    """Nested tables, with each list of tables as a table of their labels, so that single keys can be named."""
    if isinstance(value, Mapping):
        return {str(key): _by_label(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return {str(item.get("label", place)): _by_label(item) for place, item in enumerate(value)}
    return value


def record_start(folder: Path, command: Sequence[str], cells: Sequence[Cell]) -> None:
    """Write ``bench.json`` at the first start; a later one on other versions or hardware is added under ``later``.

    Args:
        folder: of the bench.
        command: that started it.
        cells: of the table, for the decoding and the prompt format.
    """
    store = RunFolder(folder)
    start = {
        "fdiv_gym": __version__,
        "command": list(command),
        "python": sys.version.split()[0],
        "versions": versions(),
        "lock": installed(),
        "hardware": hardware(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    known = store.read_json(BENCH)
    if not known:
        store.write_json(BENCH, {**start, "decoding": decoding_of(cells)})
        return
    last = [known, *known.get("later", [])][-1]
    if any(last.get(key) != start[key] for key in ("fdiv_gym", "python", "versions", "hardware")):
        store.write_json(BENCH, known | {"later": [*known.get("later", []), start]})


def versions() -> dict[str, str]:
    """The version of each package that results may depend on, where it is installed."""
    found = {}
    for package in (*PACKAGES, *OWN_PACKAGES):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def installed() -> dict[str, str]:
    """The version of every installed package."""
    found = {(each.metadata["Name"] or "").lower(): each.version for each in importlib.metadata.distributions()}
    return {name: version for name, version in sorted(found.items()) if name}


def hardware() -> dict[str, Any]:
    """System, processor, cores and GPUs of the machine that the bench was started on."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"system": platform.system(), "machine": platform.machine(), "processor": _processor(), "cores": cores,
            "gpus": gpus}  # fmt: skip


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def decoding_of(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The engine and the prompt format of each environment and model: all cells of these share them."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for cell in cells:
        if (cell.environment, cell.model) not in found:
            resolved = cell.config.resolved()
            model: Mapping[str, Any] = resolved["model"]
            prompt = {name: model.get(name) for name in ("chat", "chat_template", "chat_template_options")}
            prompt["system_prompt"] = (resolved.get("env") or {}).get("system_prompt")
            labels = {"environment": cell.environment, "model": cell.model}
            found[cell.environment, cell.model] = {**labels, "engine": resolved.get("engine"), "prompt": prompt}
    return list(found.values())
