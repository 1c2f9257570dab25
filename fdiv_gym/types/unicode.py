"""Lone surrogates: JSON and Python strings may hold them, but they have no UTF-8 form and no tokens."""

from __future__ import annotations

import re
import warnings
from typing import Any

SURROGATE = re.compile("[\ud800-\udfff]")


class NormalisedTextWarning(UserWarning):
    """Texts held lone surrogates, which were replaced by U+FFFD; the message has their number."""


def normalised(text: str) -> str:
    """``text`` with U+FFFD in place of lone surrogates; two that form a character become that character."""
    if not SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def normalised_json(value: Any) -> tuple[Any, int]:
    """A JSON value with every text normalised, and the number of texts that changed."""
    if isinstance(value, str):
        text = normalised(value)
        return text, int(text != value)
    if isinstance(value, dict):
        pairs = [(normalised_json(key), normalised_json(item)) for key, item in value.items()]
        return {key[0]: item[0] for key, item in pairs}, sum(key[1] + item[1] for key, item in pairs)
    if isinstance(value, list):
        items = [normalised_json(item) for item in value]
        return [item for item, _ in items], sum(count for _, count in items)
    return value, 0


def tell_normalised(count: int, where: str) -> None:
    """Warn that ``count`` texts of ``where`` were normalised; nothing for none."""
    if count:
        texts = "1 text" if count == 1 else f"{count} texts"
        warnings.warn(f"{where}: {texts} held lone surrogates, replaced by U+FFFD", NormalisedTextWarning, stacklevel=2)
