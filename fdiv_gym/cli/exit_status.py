"""The exit statuses of ``fdiv-gym``."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """Every exit status, with its meaning."""

    meaning: str

    SUCCESS = 0, "Success."
    FAILED = 1, "A check or a cell of a bench failed, or an unexpected exception: its traceback is on the error stream."
    ERROR = 2, "An error, in one line on the error stream, or arguments that do not parse."
    INTERRUPTED = 130, "Interrupted, by Ctrl-C, SIGTERM or SIGHUP."
    BROKEN_PIPE = 141, "The reader of the output closed it."

    def __new__(cls, value: int, meaning: str) -> ExitStatus:
        """A status with the sentence that the reference shows."""
        status = int.__new__(cls, value)
        status._value_ = value
        status.meaning = meaning
        return status
