"""Files of a folder that may be another person's: no named pipe is waited for, and no link is written through."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

# Where the system has no such flag, it has no such files or links.
_DO_NOT_WAIT = getattr(os, "O_NONBLOCK", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_for_reading(path: Path) -> io.BufferedReader:
    """Open a regular file, or a link to one.

    Raises:
        OSError: it is missing, or it is a folder, a pipe or a device.
    """
    return open(path, "rb", opener=_open_regular)


def read_text(path: Path, errors: str = "strict") -> str:
    """The UTF-8 text of a regular file.

    Raises:
        OSError: as ``open_for_reading``.
        UnicodeDecodeError: it is not UTF-8, and ``errors`` is ``strict``.
    """
    with open_for_reading(path) as file:
        return file.read().decode("utf-8", errors)


def open_for_appending(path: Path) -> io.TextIOWrapper:
    """Open a regular UTF-8 file at its end, and create it if it is missing.

    Raises:
        OSError: it is a link, a folder, a pipe or a device, or the disk is full.
    """
    return open(path, "a", encoding="utf-8", opener=_open_no_link)


@contextlib.contextmanager
def replacing(path: Path, errors: str = "strict") -> Iterator[TextIO]:
    """Replace a UTF-8 text file when the block ends: a reader gets the old or the new content, also after a crash.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("x", encoding="utf-8", errors=errors) as file:  # "x" follows no link
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _open_regular(path: str, flags: int) -> int:
    try:
        handle = os.open(path, flags | _DO_NOT_WAIT, 0o666)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP):  # a pipe without a reader, or a link
            raise OSError(error.errno, "it is a link or a pipe, not a regular file", path) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return handle


def _open_no_link(path: str, flags: int) -> int:
    return _open_regular(path, flags | _NO_LINK)


def no_path(name: str) -> str:
    """Why a name cannot be that of a file on this machine, existing or not; empty if it can."""
    try:
        os.lstat(name)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        return (error.strerror if isinstance(error, OSError) else str(error)) or "no path"
    return ""
