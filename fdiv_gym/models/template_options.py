"""A chat template from a file of the user's, and the variables that the user gives to a template."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdiv_gym.errors import ConfigError
from fdiv_gym.models.template import LONGEST_TEMPLATE, names_variable


def use_template_file(tokenizer: Any, name: str) -> None:
    """Give a tokenizer the chat template in a file.

    Raises:
        ConfigError: the file cannot be read, is empty, is no UTF-8 text, or is too long.
    """
    path = Path(name)
    try:
        if path.exists() and not path.is_file():  # a folder, or a device or pipe, which may never end
            raise _unreadable(name, "it is not a file")
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST_TEMPLATE + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(name, str(error)) from None
    if len(text) > LONGEST_TEMPLATE:
        raise _unreadable(name, f"it has more than {LONGEST_TEMPLATE} characters")
    if not text.strip():
        raise _unreadable(name, "it is empty; for prompts without a template set model.chat = 'never'")
    tokenizer.chat_template = text


def check_options(tokenizer: Any, options: Mapping[str, Any]) -> None:
    """Refuse options that the chat template would not read.

    Args:
        tokenizer: with a chat template; None if none is used.
        options: variables of the template.

    Raises:
        ConfigError: no template is used, or one of the options is no variable of it, or is set by the library.
    """
    if not options:
        return
    if tokenizer is None:
        raise ConfigError("model.chat_template_options is set, and the tokenizer has no chat template: remove it")
    own = {"messages", *inspect.signature(tokenizer.apply_chat_template).parameters}
    for name in options:
        if name in own:
            raise ConfigError(f"model.chat_template_options may not set {name!r}, which each rendering sets")
        if not names_variable(tokenizer, name):
            raise ConfigError(
                f"model.chat_template_options has {name!r}, and the chat template names no such variable: "
                "correct or remove it"
            )


def _unreadable(name: str, why: str) -> ConfigError:
    return ConfigError(f"model.chat_template = {name!r} cannot be used: {why}")
