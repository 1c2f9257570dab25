"""Claims on cyclic preferences: what a preference model of two coordinates learns and a scalar cannot.

The model is obtained through the judge's registered name and trained here, on a backbone of this module.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from fdiv_gym.registry.lookup import list_entries
from fdiv_gym.theory.claims.claim import Claim

GPM = "arXiv 2410.02197"
#: Rock, paper and scissors are sets of ``LETTERS`` tokens. A token of an item is of its own set with this probability,
#: else of any of the three.
OWN, LETTERS, LENGTH = 0.7, 8, 12
WIDTH, STEPS, TRIPLES, HELD_OUT = 16, 150, 64, 200


class _Bag(torch.nn.Module):
    """A causal backbone without context: the hidden state is the mean of the embeddings up to the token."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        config = SimpleNamespace(hidden_size=WIDTH)
        self.config = SimpleNamespace(get_text_config=lambda: config)
        self.tokens = torch.nn.Parameter(0.5 * torch.randn(3 * LETTERS + 1, WIDTH, generator=generator))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """[B, T, WIDTH]; no row of these claims is padded."""
        counts = torch.arange(1, input_ids.shape[1] + 1).unsqueeze(-1)
        return SimpleNamespace(last_hidden_state=self.tokens[input_ids].cumsum(1) / counts)


def _triples(count: int, generator: torch.Generator) -> Tensor:
    """[count, 3, 1 + LENGTH] tokens: a prompt of one token and a rock, a paper and scissors."""
    kinds = torch.arange(3).view(1, 3, 1).expand(count, 3, LENGTH)
    noisy = torch.rand(count, 3, LENGTH, generator=generator) >= OWN
    drawn = torch.where(noisy, torch.randint(3, noisy.shape, generator=generator), kinds)
    tokens = 1 + drawn * LETTERS + torch.randint(LETTERS, noisy.shape, generator=generator)
    return torch.cat([torch.zeros(count, 3, 1, dtype=torch.long), tokens], -1)


def _scores(model: Any, triples: Tensor) -> Tensor:
    """[count, 3] s of paper over rock, scissors over paper and rock over scissors."""
    ids = triples.flatten(0, 1)
    embeddings, eigenvalues = model.encode(ids, torch.ones_like(ids), torch.ones(len(ids), dtype=torch.long))
    own, values = embeddings.unflatten(0, (-1, 3)), eigenvalues.unflatten(0, (-1, 3))
    found: Tensor = model.scores(own.roll(-1, 1), own, values)
    return found


@functools.cache
def _right(dimensions: int, pinned: bool) -> float:
    """The share of the pairs of held-out triples that a trained model has right; a tie is wrong."""
    (entry,) = (entry for entry in list_entries("judge") if entry.name == "gpm")
    generator = torch.Generator().manual_seed(0)
    model = entry.load().new_model(_Bag(generator), dimensions=dimensions, pinned=pinned)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(STEPS):
        loss = -torch.nn.functional.logsigmoid(_scores(model, _triples(TRIPLES, generator)) / model.config.tau).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        return float((_scores(model, _triples(HELD_OUT, generator)) > 0).double().mean())


DETAIL = f"{HELD_OUT} held-out triples of new items, {1 - OWN:.0%} of whose tokens are drawn from all three"


def a_cycle_is_learnt() -> Claim:
    """Rock, paper and scissors on held-out items: one free dimension holds the cycle, and so do two."""
    worst = min(_right(dimensions, False) for dimensions in (1, 2))
    return Claim("gpm: accuracy in a cycle, k = 1 and k = 2", GPM, worst, 0.95, ">=", detail=DETAIL)


def a_scalar_has_two_thirds_of_a_cycle() -> Claim:
    """The pinned model, Bradley-Terry, has at most two of the three pairs of every triple right."""
    return Claim("gpm, k = 1 pinned: accuracy in a cycle", GPM, _right(1, True), 2 / 3 + 1e-12, detail=DETAIL)


CLAIMS = (a_cycle_is_learnt, a_scalar_has_two_thirds_of_a_cycle)
