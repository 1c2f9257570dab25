"""Embeddings of responses under a frozen preference model, computed in batches and kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.models import ChatEncoder, load_tokenizer
from fdiv_gym_gprl.model import Eigenvalues, GeneralPreferenceModel
from fdiv_gym_gprl.texts import Row, batch_of, row_of

SHORTEST = 8
"""Least tokens of a row."""

Embedded = tuple[Tensor, Tensor]
"""The embedding [2k] of a response and the eigenvalues [k] of its prompt, fp64."""


class Embedder:
    """A preference model that does not learn, its tokenizer, and what it computed last.

    Args:
        path: a local folder of a preference model with a tokenizer.
        device: where the model computes.
        longest: tokens of a row; the model's own limit applies too.
        rows: in one forward pass.
        kept: embeddings in memory; the one that was asked for least recently goes first.
        eigenvalues: of a released checkpoint, see ``GeneralPreferenceModel.load``.
        normalise: of a released checkpoint.
        tau: of a released checkpoint.

    Raises:
        TrainerError: the folder is no preference model, or is damaged.
        ConfigError: an option does not fit it.
    """

    def __init__(
        self, path: str, device: str, *, longest: int, rows: int, kept: int, eigenvalues: Eigenvalues | None = None,
        normalise: bool | None = None, tau: float | None = None,
    ) -> None:  # fmt: skip
        self.model = GeneralPreferenceModel.load(Path(path), eigenvalues=eigenvalues, normalise=normalise, tau=tau)
        self.model.to(device).eval().requires_grad_(False)
        self._encoder = ChatEncoder(load_tokenizer(Path(path)))
        self._device = device
        backbone: Any = self.model.backbone
        config = backbone.config.get_text_config()
        self._longest = min(longest, getattr(config, "max_position_embeddings", None) or longest)
        if self._longest < SHORTEST:
            raise fg.TrainerError(
                f"preference model {path} takes {self._longest} tokens by its config.json, too few for a prompt and a "
                "response: use an undamaged copy"
            )
        self._known_tokens = backbone.get_input_embeddings().num_embeddings
        self._rows, self._kept = rows, kept
        self._known: OrderedDict[tuple[str, str], Embedded] = OrderedDict()
        self._lock = threading.Lock()
        self.computed = 0

    def __call__(self, tasks: Sequence[fg.Task], responses: Sequence[str]) -> list[Embedded | str]:
        """For each response its embedding, or why it has none; equal ones of one task are computed once."""
        with self._lock:
            found: dict[tuple[str, str], Embedded | str] = {}
            rows: dict[tuple[str, str], Row] = {}
            keys = [(task.hash, response) for task, response in zip(tasks, responses, strict=True)]
            for key, task in zip(keys, tasks, strict=True):
                if key in found or key in rows:
                    continue
                if key in self._known:
                    self._known.move_to_end(key)
                    found[key] = self._known[key]
                    continue
                try:
                    rows[key] = row_of(self._encoder, task.prompt, key[1], self._longest)
                except fg.ConfigError as error:
                    found[key] = str(error)
            found.update(self._computed(rows))
            return [found[key] for key in keys]

    def _computed(self, rows: dict[tuple[str, str], Row]) -> dict[tuple[str, str], Embedded | str]:
        found: dict[tuple[str, str], Embedded | str] = {}
        order = sorted(rows, key=lambda key: len(rows[key].ids))  # rows of similar length share a batch: less padding
        for start in range(0, len(order), self._rows):
            keys = order[start : start + self._rows]
            batch = [tensor.to(self._device) for tensor in batch_of([rows[key] for key in keys], self._padding)]
            if int(batch[0].max()) >= self._known_tokens:
                raise fg.TrainerError(
                    f"the tokenizer of the preference model gives token {int(batch[0].max())}, and the model has "
                    f"{self._known_tokens}: use the tokenizer that it was trained with"
                )
            with torch.no_grad():
                embeddings, eigenvalues = self.model.encode(*batch)
            self.computed += len(keys)
            for key, one, values in zip(keys, embeddings.double().cpu(), eigenvalues.double().cpu(), strict=True):
                if not bool(one.isfinite().all() and values.isfinite().all()):
                    found[key] = "the preference model's output is not finite"
                    continue
                found[key] = self._known[key] = (one, values)
        while len(self._known) > self._kept:
            self._known.popitem(last=False)
        return found

    @property
    def _padding(self) -> int:
        return int(self._encoder.tokenizer.pad_token_id)
