"""Log records and warnings of all libraries in a command, as printable text: they repeat texts of models and data."""

from __future__ import annotations

import logging
import re
import warnings

from fdiv_gym.registry.messages import printable

STYLE = re.compile("\x1b\\[[0-9;]*m")
"""Colours, which transformers writes into some messages itself; they are removed."""


class PrintableRecord(logging.LogRecord):
    """A record of ``logging`` whose message is printable."""

    def getMessage(self) -> str:  # noqa: N802 - the name in the standard library
        """The message with its arguments."""
        return printable(STYLE.sub("", super().getMessage()))


def make_printable() -> None:
    """From now on, show the control characters of log records and warnings as escapes, in this process."""
    logging.setLogRecordFactory(PrintableRecord)
    plain = warnings.formatwarning
    warnings.formatwarning = lambda *args, **named: printable(plain(*args, **named))
