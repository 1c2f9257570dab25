"""Prompts and responses as the rows of tokens that a preference model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fdiv_gym.models import ChatEncoder
from fdiv_gym.types import Prompt


@dataclass(frozen=True)
class Row:
    """The tokens of a prompt and a response to it.

    Args:
        ids: of both; the last one is the end token.
        prompt: how many of them are the prompt's, at least 1.
    """

    ids: tuple[int, ...]
    prompt: int


def row_of(encoder: ChatEncoder, prompt: Prompt, response: str, longest: int) -> Row:
    """The row of one response, in the chat template of the model where it has one.

    A prompt of more than half of ``longest`` loses its start, then a response that does not fit its end; the end token
    stays.

    Args:
        encoder: the tokenizer of the preference model.
        prompt: a text or messages.
        response: the text of a complete response.
        longest: number of tokens of a row, at least 2.

    Raises:
        ConfigError: the chat template fails for the prompt.
    """
    # A lone surrogate is no text for a tokenizer.
    *said, end = encoder.response(response.encode("utf-8", "replace").decode())
    asked = encoder.prompt(prompt) or [end]
    room = max(longest - len(said) - 1, longest // 2)
    asked = asked[-room:]
    return Row((*asked, *said[: longest - len(asked) - 1], end), len(asked))


def batch_of(rows: Sequence[Row], padding: int) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids [B, T], mask [B, T] and prompt lengths [B], int64, padded on the right."""
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[padding] * (width - len(row.ids))] for row in rows])
    mask = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows])
    return ids, mask, torch.tensor([row.prompt for row in rows])
