"""Labels of a matrix, and the names of folders made from them."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

import pydantic

from fdiv_gym.registry.messages import UNPRINTABLE, is_unicode

LONGEST = 60
"""Characters of a label: an id of three labels, a seed and a suffix fits into the name of a file."""


def slug(label: str) -> str:
    """The lower-case ASCII letters and digits of a label, with ``-`` between what else there is; may be empty.

    It never contains ``--``, which separates the parts of an id.
    """
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _checked(label: str) -> str:
    if len(label) > LONGEST:
        raise ValueError(f"a label has at most {LONGEST} characters, this one {len(label)}")
    if not is_unicode(label) or UNPRINTABLE.search(label) or "\n" in label or "\t" in label:
        raise ValueError("a label is one line of printable text")
    if not slug(label):
        raise ValueError("a label needs a letter or digit of ASCII: it becomes the name of a folder")
    return label


Label = Annotated[str, pydantic.Strict(), pydantic.AfterValidator(_checked)]
"""A text of at most 60 characters on one line, with at least one letter or digit of ASCII."""
