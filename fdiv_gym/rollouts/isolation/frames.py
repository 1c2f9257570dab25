"""Frames: messages of known length on a pipe."""

from __future__ import annotations

import struct
from typing import BinaryIO

_LENGTH = struct.Struct(">Q")


def write_frame(file: BinaryIO, payload: bytes) -> None:
    """Write one message to an unbuffered file.

    Raises:
        OSError: the other end is closed.
    """
    data = memoryview(_LENGTH.pack(len(payload)) + payload)
    while data:
        data = data[file.write(data) :]


def read_frame(file: BinaryIO, longest: int) -> bytes | None:
    """The next message; None if the other end is closed, also in the middle of a message, or announces a longer one.

    Args:
        file: a buffered file.
        longest: largest number of bytes of a message.
    """
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > longest:
        return None
    payload = file.read(length)
    return payload if len(payload) == length else None
