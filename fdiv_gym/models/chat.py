"""ChatEncoder: conversion of text to tokens and back, by the tokenizer's chat template if it has one."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from fdiv_gym.errors import ConfigError
from fdiv_gym.models.config import ModelConfig
from fdiv_gym.models.template import check_template, declared_calls, declares_calls, render, shows_tools
from fdiv_gym.models.template_options import check_options, use_template_file
from fdiv_gym.models.turns import kept_spans
from fdiv_gym.types.message import Message, Prompt, messages_of
from fdiv_gym.types.trajectory import Completion

_TOOL_ROLE = "; it takes the chat with the role 'user' in place of 'tool': set env.tool_role = \"user\""


class ChatEncoder:
    """Converts text to tokens and back, in the same way for rollouts, evaluation and preferences.

    Args:
        tokenizer: a transformers tokenizer.
        chat: ``auto`` applies the chat template to prompts if the tokenizer has one.
        options: variables of the chat template, e.g. ``{"enable_thinking": False}``.

    Raises:
        ConfigError: the chat template is refused (see ``check_template``), or an option is no variable of it.
    """

    def __init__(self, tokenizer: Any, chat: str = "auto", options: Mapping[str, Any] | None = None) -> None:
        self.tokenizer = tokenizer
        self.uses_template = chat == "auto" and bool(getattr(tokenizer, "chat_template", None))
        self._options = dict(options or {})
        if self.uses_template:
            check_template(tokenizer)
        check_options(tokenizer if self.uses_template else None, self._options)

    @classmethod
    def of(cls, tokenizer: Any, config: ModelConfig) -> ChatEncoder:
        """The encoder of a run; the tokenizer gets the chat template that the configuration names.

        Raises:
            ConfigError: the file of the template cannot be read, the template is refused, or an option is none of it.
        """
        if config.chat_template is not None:
            use_template_file(tokenizer, config.chat_template)
        return cls(tokenizer, config.chat, config.chat_template_options)

    @cached_property
    def shows_tools(self) -> bool:
        """Whether the chat template shows the tools that the model may call."""
        return self.uses_template and shows_tools(self.tokenizer)

    def parse_calls(self, response: str) -> list[dict[str, Any]]:
        """The tool calls in a response, in the format that the tokenizer declares; see ``declares_calls``.

        Raises:
            ValueError: the response does not follow that format.
        """
        return declared_calls(self.tokenizer, response)

    @property
    def declares_calls(self) -> bool:
        """Whether the tokenizer declares a format of tool calls."""
        return self.uses_template and declares_calls(self.tokenizer)

    def prompt(
        self,
        prompt: Prompt | Sequence[Message],
        sampled: Mapping[int, Completion] | None = None,
        tools: Sequence[dict[str, Any]] = (),
    ) -> list[int]:
        """Tokens of a prompt or a chat, up to the start of the next response.

        They are the tokens of the chat template's text. The tokens of a response that the policy sampled stand there as
        sampled wherever the template keeps its text. Without a template the texts follow one another: a line feed
        between messages, none beside a response.

        Args:
            prompt: a text of the user's, or messages.
            sampled: the completion of each message that was sampled, by its index.
            tools: JSON schemas of functions, for a template that shows them.

        Raises:
            ConfigError: the template takes too long, fails, or renders a much longer text; the message names the option
                ``env.tool_role`` where the role ``tool`` is what it refuses.
        """
        messages = messages_of(prompt if isinstance(prompt, str) else tuple(prompt))
        sampled = sampled or {}
        if not self.uses_template:
            return self._plain(messages, sampled)
        text = self._rendered(messages, tools)
        starts = kept_spans(messages, sorted(sampled), text, lambda chat: self._rendered(chat, tools))
        tokens: list[int] = []
        at = 0
        for index, start in starts.items():
            tokens += self._encode(text[at:start])
            tokens += without_end(sampled[index])
            at = start + len(messages[index].content)
        return tokens + self._encode(text[at:])

    def response(self, text: str) -> list[int]:
        """Tokens of a complete response with its end token, as a policy samples them."""
        return [*self._encode(text), self.tokenizer.eos_token_id]

    def _plain(self, messages: Sequence[Message], sampled: Mapping[int, Completion]) -> list[int]:
        tokens: list[int] = []
        for said, indices in itertools.groupby(range(len(messages)), lambda i: messages[i].role == "assistant"):
            if not said:
                text = "\n".join(messages[i].content for i in indices)
                # The tokenizer's own special tokens, e.g. one for the begin of a text, stand at the begin only.
                tokens += self._encode(text) if tokens else list(self.tokenizer.encode(text))
                continue
            for i in indices:
                tokens += sampled[i].token_ids if i in sampled else self.response(messages[i].content)
        return tokens

    def _rendered(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> str:
        try:
            return self._render(messages, tools)
        except ConfigError as error:
            if not any(message.role == "tool" for message in messages):
                raise
            as_user = [Message("user", m.content) if m.role == "tool" else m for m in messages]
            with contextlib.suppress(ConfigError):
                self._render(as_user, tools)
                error = ConfigError(f"{error}{_TOOL_ROLE}")
            raise error from None

    def _render(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> str:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        options = {**self._options, "tools": list(tools)} if tools and self.shows_tools else self._options
        return render(self.tokenizer, chat, add_generation_prompt=True, options=options)

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False)) if text else []


def without_end(completion: Completion) -> tuple[int, ...]:
    """The tokens of a completion without its end token."""
    return completion.token_ids[:-1] if completion.stop_reason == "eos" else completion.token_ids
