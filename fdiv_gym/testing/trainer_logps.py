"""What a trainer passes to an objective on fresh rollouts: log-probs of the tempered policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fdiv_gym.objectives.base import Objective, Stream
from fdiv_gym.objectives.batch import Coefficients, GroupBatch, MicroBatch, ObjectiveOutput, PreferenceBatch

RECORDER = "conformance-log-probs"


@dataclass(frozen=True)
class FreshLogProbs:
    """Log-probs of the first step's response tokens, all in nats.

    Args:
        policy_gap: largest difference between the policy and the sampling policy.
        reference_gap: largest difference between the policy and the reference, which are still equal.
        mean: mean log-prob of a token at sampling time.
        tokens: number of tokens.
    """

    policy_gap: float
    reference_gap: float
    mean: float
    tokens: int


class Recorder(Objective):
    """An objective that records the log-probs it is given at the first step; its gradient is 0."""

    streams = ("rollouts",)
    needs_reference = True
    step: ClassVar[int] = 0
    seen: ClassVar[list[tuple[Tensor, Tensor, Tensor]]] = []

    def at_step(self, step: int, steps: int) -> None:
        """Remember the step."""
        Recorder.step = step

    def prepare(self, groups: GroupBatch | None, preferences: PreferenceBatch | None) -> Mapping[Stream, Coefficients]:
        """Every row is active."""
        assert groups is not None
        active = torch.ones_like(groups.index, dtype=torch.bool)
        return {"rollouts": Coefficients({"zero": torch.zeros_like(groups.rewards)}, active)}

    def loss(self, stream: Stream, batch: MicroBatch) -> ObjectiveOutput:
        """0, and a record of the first step's log-probs on response tokens."""
        if Recorder.step == 1 and batch.old_logps is not None and batch.ref_logps is not None:
            given = (batch.logps.detach(), batch.old_logps, batch.ref_logps)
            Recorder.seen.append(tuple(x[batch.mask].double().cpu() for x in given))  # type: ignore[arg-type]
        return ObjectiveOutput((batch.row("zero") * batch.sequence_sum(batch.logps)).sum())


def recorded() -> FreshLogProbs:
    """The record of the run that just ended; the record is then emptied.

    Raises:
        ValueError: the trainer passed no log-probs of the sampling policy or of the reference.
    """
    parts, Recorder.seen[:] = list(Recorder.seen), []
    if not parts:
        raise ValueError("no old_logps or ref_logps reached the objective at the first step")
    policy, old, ref = (torch.cat([part[i] for part in parts]) for i in range(3))
    return FreshLogProbs(
        float((policy - old).abs().max()), float((policy - ref).abs().max()), float(old.mean()), len(old)
    )
