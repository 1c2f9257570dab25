"""ChatEncoder: conversion of text to tokens and back, by the tokenizer's chat template if it has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fdiv_gym.errors import ConfigError
from fdiv_gym.models.template import check_template, render
from fdiv_gym.types.preference import Message


class ChatEncoder:
    """Converts text to tokens and back, in the same way for rollouts, evaluation and preferences.

    Args:
        tokenizer: a transformers tokenizer.
        chat: ``auto`` applies the chat template to prompts if the tokenizer has one.

    Raises:
        ConfigError: the chat template is too long, or takes too much time or memory for a short chat.
    """

    def __init__(self, tokenizer: Any, chat: str = "auto") -> None:
        self.tokenizer = tokenizer
        self.uses_template = chat == "auto" and bool(getattr(tokenizer, "chat_template", None))
        if self.uses_template:
            check_template(tokenizer)

    def prompt(self, prompt: str | Sequence[Message]) -> list[int]:
        """Tokens of a prompt, a string or a chat, up to the start of the response.

        Raises:
            ConfigError: a chat of several messages, and the tokenizer has no chat template; or the template takes too
                long, fails, or renders a much longer text.
        """
        chat = [Message("user", prompt)] if isinstance(prompt, str) else list(prompt)
        if not self.uses_template:
            if len(chat) != 1:
                raise ConfigError(
                    f"a prompt of {len(chat)} messages needs a tokenizer with a chat template (and model.chat = 'auto')"
                )
            return list(self.tokenizer.encode(chat[0].content))
        messages = [{"role": message.role, "content": message.content} for message in chat]
        text = render(self.tokenizer, messages, add_generation_prompt=True)
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def response(self, text: str) -> list[int]:
        """Tokens of a complete response with its end token, as a policy samples them."""
        return [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]

    def reply(self, text: str) -> list[int]:
        """Tokens of the environment's message between two responses."""
        if not self.uses_template:
            return list(self.tokenizer.encode(text, add_special_tokens=False))
        # The text of the template between two answers: the difference of renderings with and without the turn.
        before = [{"role": "user", "content": ""}, {"role": "assistant", "content": "x"}]
        after = [*before, {"role": "user", "content": text}]
        shorter = render(self.tokenizer, before)
        longer = render(self.tokenizer, after, add_generation_prompt=True)
        return list(self.tokenizer.encode(longer.removeprefix(shorter), add_special_tokens=False))
