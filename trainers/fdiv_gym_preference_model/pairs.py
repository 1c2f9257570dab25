"""The pairs of a run: encoded once, drawn by seed and position only, padded to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.data import PreferenceData, PreferencesConfig, encode_units
from fdiv_gym.models import ChatEncoder
from fdiv_gym.rollouts import derive_seed
from fdiv_gym.types import PreferenceUnit


@dataclass(frozen=True)
class Pair:
    """Two responses to one prompt, as tokens.

    Args:
        unit: the pair as text.
        prompt: tokens of the prompt.
        chosen: tokens of the better response, with the end token unless it was cut.
        rejected: tokens of the worse response.
    """

    unit: PreferenceUnit
    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens of the longer side with its prompt."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


def encode_pairs(
    units: Sequence[PreferenceUnit], encoder: ChatEncoder, config: PreferencesConfig, context: int | None,
    *, required: bool,
) -> tuple[list[Pair], dict[str, int]]:  # fmt: skip
    """The pairs that fit, and the counts of ``fdiv_gym.data.encode_units``.

    Args:
        units: pairs as text.
        encoder: of the backbone's tokenizer.
        config: the limits on lengths.
        context: longest sequence that the backbone takes, or None.
        required: whether it is an error if no pair fits.

    Raises:
        ConfigError: a pair is longer than the context, or no pair fits.
    """
    rows, counts = encode_units(units, encoder, config, required=required)
    pairs = []
    for chosen, rejected in zip(rows[::2], rows[1::2], strict=True):
        unit = units[chosen.unit]
        pairs.append(Pair(unit, chosen.prompt_ids, chosen.response_ids, rejected.response_ids))
    longest = max((pair.length for pair in pairs), default=0)
    if context is not None and longest > context:
        raise fg.ConfigError(
            f"preferences {config.path}: a pair has {longest} tokens, and the model takes {context}: lower "
            "preferences.max_prompt_tokens or preferences.max_response_tokens, or increase model.embedded.context"
        )
    return pairs, counts


def refuse_unpaired(data: PreferenceData, config: PreferencesConfig) -> None:
    """Refuse labelled single responses.

    Raises:
        ConfigError: the data set holds them.
    """
    if not data.paired:
        raise fg.ConfigError(
            f"preferences {config.path} holds labelled single responses, and a preference model learns from pairs: "
            "give a file with chosen and rejected responses"
        )


def drawn(size: int, seed: int, start: int, count: int) -> list[int]:
    """Items ``start`` to ``start + count`` of an endless order over ``size`` items, reshuffled each epoch."""
    places = []
    for epoch in range(start // size, (start + count - 1) // size + 1):
        order = np.random.default_rng(derive_seed(seed, "preferences", epoch)).permutation(size)
        first, last = max(start - epoch * size, 0), min(start + count - epoch * size, size)
        places += [int(i) for i in order[first:last]]
    return places


def padded(pairs: Sequence[Pair], pad_token: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [2N, T], mask [2N, T] and prompt_lengths [2N]: all chosen responses, then all rejected ones."""
    rows = [[*pair.prompt, *pair.chosen] for pair in pairs] + [[*pair.prompt, *pair.rejected] for pair in pairs]
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad_token] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    lengths = torch.tensor([len(pair.prompt) for pair in pairs] * 2)
    return ids.to(device), mask.to(device), lengths.to(device)
