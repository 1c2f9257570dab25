"""One optimizer step's gradient: prepare on whole groups, then a plain sum over micro-batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.objectives import Stream
from fdiv_gym.registry import boundary, output_of
from fdiv_gym_accelerate.correction import weighted
from fdiv_gym_accelerate.gap import Gap
from fdiv_gym_accelerate.passes import Passes
from fdiv_gym_accelerate.ratios import Ratios
from fdiv_gym_accelerate.reference import Reference
from fdiv_gym_accelerate.sharding import is_sharded, local, summed_shards, whole
from fdiv_gym_accelerate.streams import StreamBatch


@dataclass
class Gradients:
    """Losses and metrics of one gradient.

    Args:
        loss: value of the loss, summed over all processes; NaN if log-probs of the policy are not finite.
        stream_losses: the part of each stream.
        stream_norms: gradient norm of each stream alone, where there is more than one.
        metrics: the metrics of the objective, summed.
        gap: between a token's old log-prob and now, in this process's rows; near 0 for fresh rollouts if the engine
            samples from the trained policy.
        ratios: of the rollouts' rows; without those that have no gradient, unless all were to be measured.
        entropy: ``nats`` and ``tokens``, sums over the same rows; empty where the model computes the logits itself.
    """

    loss: float = 0.0
    stream_losses: dict[str, float] = field(default_factory=dict)
    stream_norms: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    gap: Gap = field(default_factory=Gap)
    ratios: Ratios = field(default_factory=Ratios)
    entropy: dict[str, float] = field(default_factory=dict)


class Updater:
    """Accumulates the gradient of an objective into the policy's ``.grad``.

    Args:
        objective: any registered objective.
        model: the policy, with gradients.
        reference: gives the reference's model, or None if the objective needs none.
        accelerator: device, autocast and reduction over processes.
        temperature: sampling temperature; the policy is the tempered model.
        micro_batch_size: rows in one forward pass, for the default of ``passes``.
        passes: makes the forward passes.
    """

    def __init__(
        self,
        objective: fg.Objective,
        model: Any,
        reference: Reference | None,
        accelerator: Accelerator,
        temperature: float = 1.0,
        micro_batch_size: int = 256,
        passes: Passes | None = None,
    ) -> None:
        self.objective = objective
        self.model = model
        self.reference = reference
        self.accelerator = accelerator
        self.temperature = temperature
        self.passes = Passes(accelerator, micro_batch_size) if passes is None else passes

    @property
    def sharded(self) -> bool:
        """Whether the policy's weights are divided among the processes."""
        return is_sharded(self.model)

    def score_in_advance(self, stream: StreamBatch) -> None:
        """Compute the reference's log-probs, if the objective reads them; once a step."""
        if self.reference is not None:
            stream.ref_logps = self.reference.token_logps(stream, self._token_logps)

    def score_policy(self, stream: StreamBatch, *, moved: bool = True) -> None:
        """Compute the current policy's log-probs, if the objective needs them for ``prepare``; before each update.

        Args:
            stream: the rows of the update.
            moved: whether the policy was updated since the begin of the step; if not, what was computed then is taken.
        """
        tokens = None if moved else stream.fresh_logps
        if self.objective.needs_token_logps:
            tokens = stream.policy_tokens = self.token_logps(stream) if tokens is None else tokens
        if self.objective.needs_policy_logps:
            stream.policy_logps = self.policy_logps(stream) if tokens is None else stream.sequence_sum(tokens)

    def recompute_old(self, stream: StreamBatch) -> Gap:
        """Replace the engine's log-probs by those of the current policy; once a step, before its first update.

        Returns:
            The differences between the two.
        """
        gap = self.engine_gap(stream)
        stream.recomputed_logps = stream.fresh_logps
        return gap

    def engine_gap(self, stream: StreamBatch) -> Gap:
        """Differences between the log-probs of the engine and of the current policy; before a step's first update."""
        stream.fresh_logps = self.token_logps(stream)
        return gap_of(stream, stream.fresh_logps)

    def token_logps(self, stream: StreamBatch) -> Tensor:
        """[N, T-1] log-probs under the current policy, without gradient."""
        return self._token_logps(self.model, stream)

    def policy_logps(self, stream: StreamBatch) -> Tensor:
        """[N] fp64 sequence log-probs under the current policy, without gradient."""
        logps = stream.sequence_sum(self._token_logps(self.model, stream))
        assert logps is not None
        return logps

    def reference_logps(self, stream: StreamBatch) -> Tensor:
        """[N] fp64 sequence log-probs under the reference."""
        assert self.reference is not None
        logps = stream.sequence_sum(self.reference.token_logps(stream, self._token_logps))
        assert logps is not None
        return logps

    def _token_logps(self, model: Any, stream: StreamBatch) -> Tensor:
        return self.passes.all_rows(model, stream, self.temperature)

    def accumulate(
        self,
        streams: Mapping[Stream, StreamBatch],
        coefficients: Mapping[Stream, fg.Coefficients],
        own: Mapping[Stream, slice],
        *,
        ratios_of_all: bool = False,
    ) -> Gradients:
        """Add the gradient of every stream; parameters' ``.grad`` must be empty before.

        Args:
            streams: this process's rows.
            coefficients: the result of ``prepare`` for the rows of all processes.
            own: which of those rows are this process's.
            ratios_of_all: measure the ratios of the rows without gradient too, at the cost of their forward pass.
        """
        result = Gradients()
        several = len(coefficients) > 1
        before: list[Tensor | None] | None = None
        self.passes.compare_sharded(self.model, next(iter(streams.values())), self.temperature)
        # Without dropout: the policy that is trained must be the one that was sampled, in any micro-batch.
        self.model.eval()
        for name, coefficient in coefficients.items():
            self._stream(name, streams[name], coefficient, own[name], result)
            if ratios_of_all and self.objective.skips_inactive and streams[name].old_logps is not None:
                self._add_ratios(streams[name], ~coefficient.active[own[name]], result)
            if several:
                result.stream_norms[name] = self._norm_since(before)
                before = [None if p.grad is None else p.grad.clone() for p in self.model.parameters()]
        self._reduce(result)
        return result

    def _stream(
        self, name: Stream, stream: StreamBatch, coefficient: fg.Coefficients, own: slice, result: Gradients
    ) -> None:
        rows = {key: value[own] for key, value in coefficient.rows.items()}
        keep = coefficient.active[own] if self.objective.skips_inactive else None
        total, slices = 0.0, list(self.passes.slices(self.model, stream, keep))
        missing = self._missing(len(slices))
        for index in slices:
            batch, gap, entropy = self._micro_batch(stream, index, rows)
            if not bool(batch.logps[batch.mask].isfinite().all()):  # the policy's fault, and not the objective's
                total = math.nan
                if self.sharded:
                    (batch.logps.sum() * 0).backward()  # type: ignore[no-untyped-call]
                continue
            output = output_of(self.objective, name, batch)
            with boundary(self.objective, "the gradient of its loss"):
                self.accelerator.backward(output.loss)
            total += float(output.value)
            result.gap = Gap.merged([result.gap, gap])
            result.ratios.add(batch)
            add_entropy(result, batch, entropy)
            for key, value in output.metrics.items():
                result.metrics[key] = result.metrics.get(key, 0.0) + float(value)
        result.stream_losses[name] = total
        for _ in range(missing):  # with weight 0
            padded, _ = stream.take(torch.tensor([0]), self.accelerator.device)
            logps = self.passes.scores(self.model, padded, self.temperature).logps
            (logps.sum() * 0).backward()  # type: ignore[no-untyped-call]

    def _missing(self, passes: int) -> int:
        """Passes that this process must add to its own: those of a sharded model gather its layers in all processes."""
        from accelerate.utils import gather_object

        return max(gather_object([passes])) - passes if self.sharded else 0

    @torch.no_grad()
    def _add_ratios(self, stream: StreamBatch, keep: Tensor, result: Gradients) -> None:
        """Measure the ratios of rows that have no gradient; each response is a unit."""
        with whole(self.model):
            for index in self.passes.slices(self.model, stream, keep):
                batch, gap, entropy = self._micro_batch(stream, index, {})
                result.gap = Gap.merged([result.gap, gap])
                result.ratios.add(batch)
                add_entropy(result, batch, entropy)

    def _micro_batch(
        self, stream: StreamBatch, index: Tensor, rows: Mapping[str, Tensor]
    ) -> tuple[fg.MicroBatch, Gap, Tensor | None]:
        """Rows with the policy's log-probs, the gap to their old ones, and the sum of the entropies."""
        device = self.accelerator.device
        padded, ref = stream.take(index, device)
        logps, entropy = self.passes.scores(self.model, padded, self.temperature)
        gap = Gap() if padded.old_logps is None else Gap.of(logps, padded.old_logps, padded.mask)
        weights = stream.weights_of(index, logps)
        if weights is not None:
            logps = weighted(logps, weights)
        sliced = {key: value[index].to(device) for key, value in rows.items()}
        return fg.MicroBatch(logps, padded.mask, ref, padded.old_logps, sliced), gap, entropy

    def _norm_since(self, before: list[Tensor | None] | None) -> float:
        total = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        for i, parameter in enumerate(self.model.parameters()):
            if parameter.grad is None:
                continue
            earlier = before[i] if before is not None else None
            change = parameter.grad if earlier is None else parameter.grad - earlier
            total += local(change).double().pow(2).sum()
        return float(summed_shards(total, sharded=self.sharded) ** 0.5)

    def _reduce(self, result: Gradients) -> None:
        """Sum gradients and numbers over processes; the stream norms of whole models remain those of this process.

        The gradients of a sharded model are summed by its backward passes.
        """
        if self.accelerator.num_processes > 1:
            for parameter in self.model.parameters():
                if parameter.requires_grad and not self.sharded:
                    gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
                    parameter.grad = self.accelerator.reduce(gradient, reduction="sum")
            result.stream_losses = self._summed(result.stream_losses)
            result.metrics = self._summed(result.metrics)
            result.ratios.sums = self._summed(result.ratios.sums)
            result.entropy = self._summed(result.entropy)
        result.loss = sum(result.stream_losses.values())

    def _summed(self, values: dict[str, float]) -> dict[str, float]:
        from accelerate.utils import gather_object

        parts: list[dict[str, float]] = gather_object([values])
        return {key: sum(part.get(key, 0.0) for part in parts) for key in sorted({k for p in parts for k in p})}


def add_entropy(result: Gradients, batch: fg.MicroBatch, entropy: Tensor | None) -> None:
    """Add the entropy of a micro-batch of rollouts."""
    if entropy is not None and batch.old_logps is not None:
        sums = {"nats": float(entropy), "tokens": float(batch.mask.sum())}
        result.entropy = {key: result.entropy.get(key, 0.0) + value for key, value in sums.items()}


def gap_of(stream: StreamBatch, logps: Tensor) -> Gap:
    """Differences between the engine's log-probs and ``logps`` [N, T-1]."""
    assert stream.padded.old_logps is not None
    return Gap.of(logps, stream.padded.old_logps, stream.padded.mask)
