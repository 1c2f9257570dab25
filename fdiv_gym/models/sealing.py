"""Sealed model folders: written beside their final place, and moved there complete."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fdiv_gym.manifest import damage_of as damage_of  # public in fdiv_gym.models, beside sealed
from fdiv_gym.manifest import seal

ABANDONED_S = 86_400
"""Age from which on the unfinished folder of a killed process is removed."""


@contextmanager
def sealed(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill; when the block ends it is sealed and becomes ``folder``.

    A damaged ``folder`` is replaced. If another process stored a sound one first, that one stays.

    Raises:
        OSError: the disk is full, or the cache cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        seal(temporary)
        if folder.exists() and damage_of(folder) is not None:
            os.replace(folder, tempfile.mkdtemp(prefix=f".{folder.name}-damaged-", dir=folder.parent))
        try:
            os.replace(temporary, folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        for old in [temporary, *folder.parent.glob(f".{folder.name}-damaged-*")]:
            shutil.rmtree(old, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for path in parent.glob(".*"):
        try:
            abandoned = path.is_dir() and time.time() - path.stat().st_mtime > ABANDONED_S
        except FileNotFoundError:  # another process finished it
            continue
        if abandoned:
            shutil.rmtree(path, ignore_errors=True)
