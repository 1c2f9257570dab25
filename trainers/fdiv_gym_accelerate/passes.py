"""Forward passes over rows: in micro-batches, with prompts shared and log-probs in chunks where a model allows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary, WeakSet

import torch
from accelerate import Accelerator
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.gap import Bound, Gap
from fdiv_gym_accelerate.logprobs import Head, head_of
from fdiv_gym_accelerate.packing import arrangement, packed, pair_cost_of, prompts_of, refusal_of
from fdiv_gym_accelerate.policy import Packed, Padded, TokenScores, floating_dtype, separated, token_scores
from fdiv_gym_accelerate.sharding import is_whole, scores_of, whole
from fdiv_gym_accelerate.streams import StreamBatch

Sharing = Literal["auto", "always", "never"]
MEAN_BOUNDS = {torch.float64: 3e-4, torch.float32: 3e-4}
"""Largest mean difference of two ways to compute a log-prob, in nats, by the dtype of the activations; models compute
norms and rotations in fp32 also where their weights are fp64."""
COARSE_BOUND = 0.05
"""The same for bf16 and fp16."""
MEMORY_SHARE = 0.25
"""Share of the device's memory that the activations of one micro-batch may take, by a rough estimate."""
LEAST_TOKENS, MOST_TOKENS = 1024, 16384
EXCERPT = 128
"""Tokens of the row on which a chunked head is compared with the model's own logits."""


@dataclass
class _Ways:
    """What a model allows.

    Args:
        pair_cost: for the cost of packed rows; None if it may get none.
        head: for log-probs in chunks; None if the model computes them.
        compared: whether packed rows gave the log-probs of repeated prompts.
    """

    pair_cost: float | None
    head: Head | None = None
    compared: bool = False
    head_compared: bool = False


class Passes:
    """Computes log-probs of rows; the fast ways are compared with the plain ones on the first rows of each model.

    Args:
        accelerator: device and autocast.
        rows: in one forward pass, at most.
        tokens: in one forward pass, padding and repeated prompts included; a larger unit has a pass of its own.
        share_prompts: ``auto`` shares prompts where that costs less, ``always`` wherever the model allows it.
        events: takes ``plain_pass``, where a fast way was given up; None for a caller that does not care.
    """

    def __init__(
        self, accelerator: Accelerator, rows: int = 256, tokens: int = MOST_TOKENS, share_prompts: Sharing = "auto",
        events: EventLog | None = None,
    ) -> None:  # fmt: skip
        self.accelerator, self.rows, self.tokens, self.share_prompts = accelerator, rows, tokens, share_prompts
        self._events = events
        self._known: WeakKeyDictionary[Any, _Ways] = WeakKeyDictionary()
        self._sharded: WeakSet[Any] = WeakSet()  # those whose ways were compared, as far as their rows allowed

    def slices(self, model: Any, stream: StreamBatch, keep: Tensor | None = None) -> Iterator[Tensor]:
        """Row indices of micro-batches, see ``StreamBatch.slices``; rows with the same prompt stay together."""
        bundled = self._ways(model).pair_cost is not None
        yield from stream.slices(self.rows, keep, tokens=self.tokens, bundled=bundled)

    def scores(self, model: Any, batch: Padded, temperature: float) -> TokenScores:
        """Log-probs [b, T-1] of the rows of one micro-batch, with gradient."""
        if batch.segments is not None:
            return self._joined(model, batch, temperature)
        ways = self._ways(model)
        with self.accelerator.autocast():
            if not ways.head_compared and is_whole(model):
                self._compare_head(model, batch, temperature, ways)
            return scores_of(model, batch, temperature, ways.head, self._packed(model, batch, temperature, ways))

    def _joined(self, model: Any, batch: Padded, temperature: float) -> TokenScores:
        """The scores of trajectories of several rows, each a row of a forward pass.

        The rows are divided by length, so that no pass has more than ``tokens``, those with the same prompt beside each
        other; a sharded model gets one pass, because its processes must make equally many.
        """
        rows = separated(batch)
        prompts = prompts_of(rows)
        order = sorted(range(len(prompts)), key=prompts.__getitem__)
        found, entropy = torch.zeros(rows.mask.shape, device=rows.mask.device), []
        stream = StreamBatch(rows, [[i] for i in order])
        for index in self.slices(model, stream) if is_whole(model) else [torch.tensor(order)]:
            part, _ = stream.take(index, rows.ids.device)
            scores = self.scores(model, part, temperature)
            placed = scores.logps.new_zeros((len(index), found.shape[1]))
            placed[:, : scores.logps.shape[1]] = scores.logps
            found = found.to(placed.dtype).index_copy(0, index.to(found.device), placed)
            entropy.append(scores.entropy)
        known = [value for value in entropy if value is not None]
        logps = found.new_zeros(batch.mask.shape).masked_scatter(batch.mask, found[rows.mask])
        return TokenScores(logps, torch.stack(known).sum() if known and len(known) == len(entropy) else None)

    @torch.no_grad()
    def all_rows(self, model: Any, stream: StreamBatch, temperature: float) -> Tensor:
        """[N, T-1] log-probs of every row, without gradient, in fp32 on the CPU."""
        result = torch.zeros(stream.padded.mask.shape)
        model.eval()
        with whole(model):
            for index in self.slices(model, stream):
                rows, _ = stream.take(index, self.accelerator.device)
                logps = self.scores(model, rows, temperature).logps
                result[index, : logps.shape[1]] = logps.float().cpu()
        return result

    @torch.no_grad()
    def compare_sharded(self, model: Any, stream: StreamBatch, temperature: float) -> None:
        """Compare the ways of a sharded model once, on the first micro-batch; every process must call it.

        While a layer at a time is gathered, processes that compare would make more forward passes than others.
        """
        if is_whole(model) or model in self._sharded:
            return
        self._sharded.add(model)
        with whole(model):
            rows, _ = stream.take(next(self.slices(model, stream)), self.accelerator.device)
            self.scores(model, rows, temperature)

    def _ways(self, model: Any) -> _Ways:
        ways = self._known.get(model)
        if ways is None:
            shares = self.share_prompts != "never" and refusal_of(model) is None
            ways = self._known[model] = _Ways(pair_cost_of(model) if shares else None)
        return ways

    def _packed(self, model: Any, batch: Padded, temperature: float, ways: _Ways) -> Packed | None:
        """The rows with shared prompts, if that costs less and gives the same log-probs."""
        if ways.pair_cost is None or len(batch.ids) < 2:
            return None
        prompts = prompts_of(batch)
        lengths = batch.attention.sum(-1).tolist()
        parts = arrangement(prompts, lengths, ways.pair_cost, always=self.share_prompts == "always")
        if parts is None:
            return None
        if not ways.compared:
            if not is_whole(model):
                return None
            self._compare_packed(model, batch, temperature, ways, max(parts, key=len)[:4])
        return None if ways.pair_cost is None else packed(batch, prompts, parts)

    @torch.no_grad()
    def _compare_head(self, model: Any, batch: Padded, temperature: float, ways: _Ways) -> None:
        """Compare log-probs in chunks with those from the model's own logits, on one row."""
        head = head_of(model)
        if isinstance(head, str):
            ways.head_compared = True
            self._report("log-probs in chunks of the vocabulary", head)
            return
        row = excerpt(batch)
        plain = token_scores(model, row, temperature).logps
        gap = Gap.of(token_scores(model, row, temperature, head).logps, plain, row.mask)
        if not gap.tokens:  # no response token, or a policy that is not finite: compare at the next batch
            return
        ways.head_compared = True
        if gap.exceeds(bound_of_passes(model)):
            self._report("log-probs in chunks of the vocabulary", differing(gap, "the model's own logits"))
        else:
            ways.head = head

    @torch.no_grad()
    def _compare_packed(self, model: Any, batch: Padded, temperature: float, ways: _Ways, rows: list[int]) -> None:
        """Compare a few packed rows with the same rows behind prompts of their own."""
        part = batch.rows(torch.tensor(rows, device=batch.ids.device))
        together = packed(part, prompts_of(part), [list(range(len(rows)))])
        repeated = token_scores(model, part, temperature, ways.head).logps
        gap = Gap.of(token_scores(model, part, temperature, ways.head, together).logps, repeated, part.mask)
        if not gap.tokens:
            return
        ways.compared = True
        if gap.exceeds(bound_of_passes(model)):
            ways.pair_cost = None
            self._report("prompts once per group (trainer.share_prompts)", differing(gap, "repeated prompts"))

    def _report(self, what: str, why: str) -> None:
        if self._events is not None:
            self._events.report("plain_pass", f"{what} are not used: {why}; this costs memory or time, not accuracy")


def differing(gap: Gap, other: str) -> str:
    """The reason of a comparison that failed."""
    return f"they differ from those of {other} by {gap.mean:.3g} nats in the mean and {gap.largest:.3g} at most"


def bound_of_passes(model: Any) -> Bound:
    """The differences of two ways to compute the same log-probs that count as rounding."""
    return Bound(MEAN_BOUNDS.get(floating_dtype(model), COARSE_BOUND), "the dtype of the activations")


def excerpt(batch: Padded) -> Padded:
    """One row around the begin of its response, at most ``EXCERPT`` tokens; the first row if there is no response."""
    row, begin = 0, 1
    if bool(batch.mask.any()):
        row = int(batch.mask.any(-1).int().argmax())
        begin = int(batch.mask[row].int().argmax()) + 1
    start = max(0, begin - EXCERPT // 2)
    stop = min(int(batch.attention[row].sum()), start + EXCERPT)
    ids, attention = batch.ids[row : row + 1, start:stop], batch.attention[row : row + 1, start:stop]
    return Padded(ids, attention, batch.mask[row : row + 1, start : stop - 1], None)


def check_sharing(share_prompts: Sharing, model: Any) -> None:
    """Refuse to share prompts always with a model that cannot.

    Raises:
        ConfigError: naming what the model has.
    """
    why = refusal_of(model) if share_prompts == "always" else None
    if why is not None:
        raise fg.ConfigError(
            f'trainer.share_prompts = "always": {why}, so responses would not see their prompt as they do alone; '
            'set "auto" or "never"'
        )


def token_budget(model: Any, device: torch.device) -> int:
    """Tokens of a micro-batch whose activations take a quarter of the device's memory; a power of two.

    It depends on the machine and the model, and not on what else runs, so that a resumed run has the same.
    """
    config = model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    size = torch.finfo(next(model.parameters()).dtype).bits // 8
    each = int(config.num_hidden_layers) * (8 * config.hidden_size + 4 * inner) * size
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    tokens = LEAST_TOKENS
    while 2 * tokens <= min(MEMORY_SHARE * memory / each, MOST_TOKENS):
        tokens *= 2
    return tokens
