"""Opening of files to write in a folder that may be another person's: no symbolic link is followed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any


def open_own(path: Path, mode: str) -> IO[Any]:
    """Open a text file to write or append (UTF-8), unless it is a symbolic link, which could lead to any file.

    Raises:
        OSError: the file cannot be opened; its ``strerror`` says so if it is a link.
    """
    return open(path, mode, encoding="utf-8", opener=_open_no_link)  # noqa: SIM115 - the caller closes it


def _open_no_link(path: str, flags: int) -> int:
    if os.path.islink(path):
        raise OSError(0, f"{os.path.basename(path)} is a symbolic link, which is not followed: replace it by a file")
    # The flag covers a link that was made since; Windows has none.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
