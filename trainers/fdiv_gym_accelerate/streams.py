"""The streams of one step: rows from rollouts or preferences, padded once, sliced into micro-batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.objectives import StepAdvantages
from fdiv_gym_accelerate.packing import bundles_of, prompts_of
from fdiv_gym_accelerate.policy import Padded, Row, pad


@dataclass
class StreamBatch:
    """All rows of one stream on this process.

    Args:
        padded: the rows, on the CPU.
        units: row indices of each unit; a unit is never split.
        ref_logps: [N, T-1] under the reference, if it is needed.
        fresh_logps: [N, T-1] under the policy before the step's first update, if they were computed.
        recomputed_logps: [N, T-1] under the policy before the step's first update, where they replace the
            log-probs of the engine.
        weights: [N, T-1] that the gradient of each token is multiplied by, where it corrects for the engine.
        policy_logps: [N] sequence log-probs under the current policy, if the objective needs them.
        policy_tokens: [N, T-1] log-probs under the current policy, if the objective needs those of tokens.
        advantages: [N] fp64, computed on the whole step, if the objective has an estimator.
        estimator: the one that computed them.
    """

    padded: Padded
    units: list[list[int]]
    ref_logps: Tensor | None = None
    fresh_logps: Tensor | None = None
    recomputed_logps: Tensor | None = None
    weights: Tensor | None = None
    policy_logps: Tensor | None = None
    policy_tokens: Tensor | None = None
    advantages: Tensor | None = None
    estimator: fg.Advantage | None = None

    @classmethod
    def of(cls, rows: Sequence[Row], units: list[list[int]], pad_token: int) -> StreamBatch:
        """Pad the rows."""
        return cls(pad(rows, pad_token, torch.device("cpu")), units)

    @property
    def lengths(self) -> Tensor:
        """[N] response tokens of each row."""
        return self.padded.mask.sum(-1)

    @property
    def old_logps(self) -> Tensor | None:
        """[N, T-1] under the policy that the ratios refer to, or None for rows that were not sampled in this run."""
        return self.padded.old_logps if self.recomputed_logps is None else self.recomputed_logps

    def part(self, units: Sequence[int]) -> StreamBatch:
        """Some units, with what was computed on the whole step; log-probs of the current policy are dropped."""
        rows = torch.tensor([row for unit in units for row in self.units[unit]], dtype=torch.long)
        ends = list(accumulate(len(self.units[unit]) for unit in units))
        starts = [0, *ends[:-1]]
        ref, fresh, recomputed, weights, advantages = (
            None if values is None else values[rows]
            for values in (self.ref_logps, self.fresh_logps, self.recomputed_logps, self.weights, self.advantages)
        )
        return StreamBatch(
            self.padded.rows(rows), [list(range(a, b)) for a, b in zip(starts, ends, strict=True)],
            ref_logps=ref, fresh_logps=fresh, recomputed_logps=recomputed, weights=weights, advantages=advantages,
            estimator=self.estimator,
        )  # fmt: skip

    def sequence_sum(self, values: Tensor | None) -> Tensor | None:
        """[N] fp64 sums over response tokens."""
        return None if values is None else torch.where(self.padded.mask, values.double(), 0.0).sum(-1)

    def slices(
        self, rows_at_a_time: int, keep: Tensor | None = None, *, tokens: int | None = None, bundled: bool = False
    ) -> Iterator[Tensor]:
        """Row indices of micro-batches; units with no kept row are left out.

        Args:
            rows_at_a_time: in one micro-batch; a larger unit has one of its own.
            keep: [N] bool.
            tokens: of a micro-batch, padding included; None for any number. Where one micro-batch does not hold all
                rows, they are sorted by length, so that few places are padding.
            bundled: sort and divide consecutive units with the same prompt together, as far as they fit.
        """
        kept = [unit for unit in self.units if keep is None or bool(keep[unit].any())]
        lengths = self.padded.attention.sum(-1).tolist()
        limit = math.inf if tokens is None else tokens

        def fits(rows: Sequence[int]) -> bool:
            return len(rows) <= rows_at_a_time and len(rows) * max(lengths[i] for i in rows) <= limit

        if not kept:
            return
        if fits(everything := [i for unit in kept for i in unit]):
            yield torch.tensor(everything)
            return
        chunk: list[int] = []
        for part in self._sorted(kept, lengths, bundled=bundled):
            whole = [i for unit in part for i in unit]
            for piece in [whole] if fits(whole) else part:
                if chunk and not fits([*chunk, *piece]):
                    yield torch.tensor(chunk)
                    chunk = []
                chunk = chunk + piece
        yield torch.tensor(chunk)

    def _sorted(self, units: Sequence[list[int]], lengths: Sequence[int], *, bundled: bool) -> list[list[list[int]]]:
        """The units by length, those with the same prompt together if they are to be bundled."""
        parts = [[unit] for unit in units]
        if bundled:
            prompts = prompts_of(self.padded)
            parts = [[units[i] for i in bundle] for bundle in bundles_of([prompts[unit[0]] for unit in units])]
        return sorted(parts, key=lambda part: max(lengths[i] for unit in part for i in unit))

    def take(self, index: Tensor, device: torch.device) -> tuple[Padded, Tensor | None]:
        """These rows, trimmed to the longest of them, and their reference log-probs."""
        width = int(self.padded.attention[index].sum(-1).max())
        ref = self.ref_logps
        rows = replace(self.padded, old_logps=self.old_logps).rows(index).trimmed(width, device)
        return rows, None if ref is None else ref[index, : width - 1].to(device)

    def weights_of(self, index: Tensor, logps: Tensor) -> Tensor | None:
        """The weights of these rows, of the shape of their log-probs; None where nothing is corrected."""
        return None if self.weights is None else self.weights[index, : logps.shape[1]].to(logps.device)


def rollout_stream(groups: Sequence[fg.TrajectoryGroup], pad_token: int) -> StreamBatch:
    """One row and one unit for each trajectory."""
    rows = [Row(t.token_ids, t.loss_mask, t.logprobs, t.row_starts) for group in groups for t in group.trajectories]
    return StreamBatch.of(rows, [[i] for i in range(len(rows))], pad_token)


def whole_groups(groups: Sequence[fg.TrajectoryGroup], stream: StreamBatch) -> tuple[fg.GroupBatch, slice]:
    """The groups of all processes, and which of their rows belong to this process.

    ``prepare`` gets all of them, so its denominators do not depend on the number of processes.
    """
    names = sorted({name for g in groups for t in g.trajectories if t.verdict for name in t.verdict.components})
    policy, ref = stream.policy_logps, stream.sequence_sum(stream.ref_logps)
    recomputed = stream.sequence_sum(stream.recomputed_logps)
    local = {
        "rewards": [float("nan") if r is None else r for g in groups for r in g.rewards],
        "sizes": [len(g.trajectories) for g in groups],
        "old": [t.logprob for g in groups for t in g.trajectories] if recomputed is None else recomputed.tolist(),
        "lengths": stream.lengths.tolist(),
        "advantages": listed(stream.advantages),
        "policy": listed(policy),
        "ref": listed(ref),
        "policy_tokens": token_lists(stream, stream.policy_tokens),
        "old_tokens": token_lists(stream, None if stream.policy_tokens is None else stream.old_logps),
        "components": {
            name: [
                t.verdict.components.get(name, float("nan")) if t.verdict else float("nan")
                for g in groups
                for t in g.trajectories
            ]
            for name in names
        },
    }
    gathered: list[dict[str, Any]] = gather_object([local])
    sizes = torch.tensor(joined(gathered, "sizes"))
    own = own_rows([len(part["rewards"]) for part in gathered])
    all_names = sorted({name for part in gathered for name in part["components"]})
    components = {
        name: torch.tensor(
            [x for p in gathered for x in p["components"].get(name, [float("nan")] * len(p["rewards"]))],
            dtype=torch.float64,
        )
        for name in all_names
    }
    rewards = torch.tensor(joined(gathered, "rewards"), dtype=torch.float64)
    advantages = joined_or_none(gathered, "advantages")
    return (
        fg.GroupBatch(
            rewards=rewards,
            index=torch.repeat_interleave(torch.arange(len(sizes)), sizes),
            old_logps=torch.tensor(joined(gathered, "old"), dtype=torch.float64),
            lengths=torch.tensor(joined(gathered, "lengths")),
            components=components,
            advantages=None
            if advantages is None or stream.estimator is None
            else StepAdvantages(advantages, stream.estimator, rewards, components),
            policy_logps=joined_or_none(gathered, "policy"),
            ref_logps=joined_or_none(gathered, "ref"),
            policy_tokens=joined_tokens(gathered, "policy_tokens"),
            old_tokens=joined_tokens(gathered, "old_tokens"),
        ),
        own,
    )


def whole_preferences(chosen: Sequence[bool], stream: StreamBatch) -> tuple[fg.PreferenceBatch, slice]:
    """The preference rows of all processes, and which of them belong to this process."""
    policy, ref = stream.policy_logps, stream.sequence_sum(stream.ref_logps)
    local = {
        "chosen": list(chosen),
        "units": [len(unit) for unit in stream.units],
        "lengths": stream.lengths.tolist(),
        "policy": listed(policy),
        "ref": listed(ref),
    }
    gathered: list[dict[str, Any]] = gather_object([local])
    sizes = torch.tensor(joined(gathered, "units"))
    own = own_rows([len(part["chosen"]) for part in gathered])
    return (
        fg.PreferenceBatch(
            chosen=torch.tensor(joined(gathered, "chosen")),
            unit=torch.repeat_interleave(torch.arange(len(sizes)), sizes),
            lengths=torch.tensor(joined(gathered, "lengths")),
            policy_logps=joined_or_none(gathered, "policy"),
            ref_logps=joined_or_none(gathered, "ref"),
        ),
        own,
    )


def joined(parts: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """The lists of all processes, one after the other."""
    return [item for part in parts for item in part[key]]


def listed(values: Tensor | None) -> list[float] | None:
    """The values as a list, which ``gather_object`` can send."""
    return None if values is None else values.tolist()


def joined_or_none(parts: Sequence[Mapping[str, Any]], key: str) -> Tensor | None:
    """[N] fp64: the lists of all processes, or None if they have none."""
    return None if parts[0][key] is None else torch.tensor(joined(parts, key), dtype=torch.float64)


def token_lists(stream: StreamBatch, values: Tensor | None) -> list[list[float]] | None:
    """The values at each row's response tokens; ``values`` [N, T-1]."""
    if values is None:
        return None
    return [row[mask].tolist() for row, mask in zip(values.double(), stream.padded.mask, strict=True)]


def joined_tokens(parts: Sequence[Mapping[str, Any]], key: str) -> Tensor | None:
    """[N, L] fp64, one row for each response of all processes, NaN beyond its tokens; None if no process has it."""
    if any(part[key] is None for part in parts):
        return None
    rows = [torch.tensor(row, dtype=torch.float64) for row in joined(parts, key)]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=torch.nan)


def own_rows(counts: Sequence[int]) -> slice:
    """The rows of this process among those of all processes."""
    from accelerate import PartialState

    rank = PartialState().process_index
    start = sum(counts[:rank])
    return slice(start, start + counts[rank])
