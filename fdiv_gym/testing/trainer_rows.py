"""What a trainer passes to an objective over several steps, against the trajectories and the initial weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from fdiv_gym.objectives.advantages.base import Advantage, checked_advantages
from fdiv_gym.objectives.base import Objective, Stream
from fdiv_gym.objectives.batch import Coefficients, GroupBatch, MicroBatch, ObjectiveOutput, PreferenceBatch
from fdiv_gym.testing.report import Report
from fdiv_gym.types.trajectory import Trajectory, TrajectoryGroup

SPY = "conformance-rows"
TOLERANCE = 1e-3  # nats, between two computations of one log-prob, or of the sum over a response, in fp32


@dataclass
class Part:
    """One micro-batch, all tensors on the CPU in fp64.

    Args:
        batch: the rows as the objective got them.
        gradient: [b, T] gradient that arrived at the log-probs, after the backward pass.
    """

    batch: MicroBatch
    gradient: Tensor | None = None

    def tokens(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probs of a row's response tokens under policy, sampling policy and reference."""
        mask = self.batch.mask[row]
        given = (self.batch.logps, self.batch.old_logps, self.batch.ref_logps)
        policy, old, ref = (torch.empty(0) if x is None else x[row][mask] for x in given)
        return policy, old, ref


@dataclass
class Update:
    """One call of ``prepare`` and the micro-batches that followed it."""

    step: int
    groups: GroupBatch
    parts: list[Part] = field(default_factory=list)

    def rows(self) -> list[tuple[int, Part, int]]:
        """Row number in the groups, micro-batch, and row number in it."""
        return [(int(p), part, k) for part in self.parts for k, p in enumerate(part.batch.rows["place"])]


class StepMean(Advantage):
    """The score minus the mean score of all the groups given; 0 without a score."""

    def compute(self, groups: GroupBatch) -> Tensor:
        """[N] fp64."""
        kept = groups.rewards[groups.scored]
        if not kept.numel() or bool(kept.min() == kept.max()):
            return torch.zeros_like(groups.rewards)
        return torch.where(groups.scored, groups.rewards - kept.mean(), 0.0)


class Spy(Objective):
    """Policy gradient that keeps everything it is given, at every update of every step."""

    streams = ("rollouts",)
    needs_reference = True
    needs_policy_logps = True
    step: ClassVar[int] = 0
    updates: ClassVar[list[Update]] = []
    drawn: ClassVar[dict[int, list[Trajectory]]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.advantage = StepMean()

    def at_step(self, step: int, steps: int) -> None:
        """Remember the step."""
        Spy.step = step

    def prepare(self, groups: GroupBatch | None, preferences: PreferenceBatch | None) -> Mapping[Stream, Coefficients]:
        """Every row is active, and carries its number."""
        assert groups is not None
        assert self.advantage is not None
        Spy.updates.append(Update(Spy.step, groups))
        advantages = checked_advantages(self.advantage, groups)
        rows = {"coefficient": -advantages * groups.shares, "place": torch.arange(len(advantages)).double()}
        return {"rollouts": Coefficients(rows, torch.ones(len(advantages), dtype=torch.bool))}

    def loss(self, stream: Stream, batch: MicroBatch) -> ObjectiveOutput:
        """The sum of coefficient times log-prob, and a record of the rows and of the gradient that arrives."""

        def plain(values: Tensor | None) -> Tensor | None:
            return None if values is None else values.detach().double().cpu()

        logps = plain(batch.logps)
        assert logps is not None
        rows = {name: values.detach().cpu() for name, values in batch.rows.items()}
        part = Part(MicroBatch(logps, batch.mask.cpu(), plain(batch.ref_logps), plain(batch.old_logps), rows))
        Spy.updates[-1].parts.append(part)

        def arrived(gradient: Tensor) -> None:
            part.gradient = plain(gradient)

        if batch.logps.requires_grad:
            batch.logps.register_hook(arrived)  # type: ignore[no-untyped-call]
        return ObjectiveOutput((batch.row("coefficient") * batch.sequence_sum(batch.logps)).sum())


def forget() -> None:
    """Empty the record before a run."""
    Spy.updates.clear()
    Spy.drawn.clear()


def keep(step: int, groups: Sequence[TrajectoryGroup]) -> None:
    """Record the scored trajectories of a step."""
    Spy.drawn[step] = [trajectory for group in groups for trajectory in group.trajectories]


def check_rows(report: Report, reference: Callable[[Trajectory], Tensor]) -> None:
    """Check the record of the run that just ended.

    Args:
        report: takes the checks.
        reference: log-probs [k] of a trajectory's k response tokens under the initial weights.
    """
    for step, trajectories in Spy.drawn.items():
        updates = [update for update in Spy.updates if update.step == step]
        if not report.check("groups", bool(updates), f"step {step}: prepare was not called"):
            return
        _groups(report, step, updates, trajectories)
        _advantages(report, step, updates, trajectories)
        for update in updates:
            check_consistent(report, update)
            _gradients(report, update)
        _tokens(report, step, updates, trajectories, reference)
    last = [part.tokens(k) for _, part, k in Spy.updates[-1].rows()] if Spy.updates else []
    moved = max((float((policy - ref).abs().max()) for policy, _, ref in last if len(ref)), default=0.0)
    report.check(
        "reference", moved > TOLERANCE,
        f"at the last step policy and reference differ by {moved:.3g} nats: the reference must stay at the initial "
        "weights while the policy moves",
    )  # fmt: skip


def _groups(report: Report, step: int, updates: Sequence[Update], trajectories: Sequence[Trajectory]) -> None:
    """Lengths, rewards and sums of old log-probs are those of the trajectories, in any order."""
    found = sorted(
        (int(n), -1.0 if math.isnan(r) else float(r), float(old))
        for u in updates
        for n, r, old in zip(u.groups.lengths, u.groups.rewards, u.groups.old_logps, strict=True)
    )
    expected = sorted((t.response_length, _score(t, -1.0), t.logprob) for t in trajectories)
    for i, what in enumerate(("lengths", "rewards (-1: none)", "sums of old log-probs")):
        ours, theirs = [row[i] for row in expected], [row[i] for row in found]
        same = len(ours) == len(theirs) and all(abs(a - b) <= TOLERANCE for a, b in zip(ours, theirs, strict=True))
        report.check(
            "groups", same,
            f"step {step}: the {what} that prepare got, sorted, are {_short(theirs)}, and {_short(ours)} of the "
            "trajectories: response tokens alone count, and a response without a score has the reward NaN",
        )  # fmt: skip
        if not same:
            return


def _advantages(report: Report, step: int, updates: Sequence[Update], trajectories: Sequence[Trajectory]) -> None:
    """With several updates the groups carry the advantages of the whole step."""
    if len(updates) == 1 and updates[0].groups.advantages is None:
        return
    scores = [_score(t, math.nan) for t in trajectories]
    mean = torch.tensor(scores, dtype=torch.float64).nanmean()
    for update in updates:
        groups = update.groups
        expected = torch.where(groups.scored, groups.rewards - mean, 0.0)
        gap = math.nan if groups.advantages is None else float((groups.advantages.values - expected).abs().max())
        report.check(
            "carried-advantages", gap <= 1e-9,
            f"step {step} has {len(updates)} updates, and one got "
            + ("no advantages" if groups.advantages is None else f"advantages that differ by {gap:.3g}")
            + ": compute those of the objective's estimator once, on the whole rollout batch",
        )  # fmt: skip


def check_consistent(report: Report, update: Update) -> None:
    """Every row of ``prepare`` reaches ``loss`` once, and both get the same log-probs of it."""
    groups, rows = update.groups, update.rows()
    places = sorted(place for place, _, _ in rows)
    complete = places == list(range(len(groups.rewards)))
    report.check("rows", complete, f"step {update.step}: of {len(groups.rewards)} rows loss got {_short(places)}")
    if groups.policy_logps is None or groups.ref_logps is None:
        report.fail("rows", "the objective declares needs_policy_logps, but prepare got no policy_logps or ref_logps")
        return
    sums = {"policy": groups.policy_logps, "sampling policy": groups.old_logps, "reference": groups.ref_logps}
    for i, (what, values) in enumerate(sums.items()):
        gaps = [abs(float(values[place] - part.tokens(k)[i].sum())) for place, part, k in rows]
        report.check(
            "rows", max(gaps, default=0.0) <= TOLERANCE,
            f"step {update.step}: a response's log-prob under the {what} in prepare is {max(gaps, default=0.0):.3g} "
            "nats away from the sum of its tokens in loss",
        )  # fmt: skip


def _gradients(report: Report, update: Update) -> None:
    """The gradients of the micro-batches are added up: each arrives with the same factor."""
    factors = []
    for part in update.parts:
        coefficient = part.batch.rows["coefficient"].double().unsqueeze(-1).expand_as(part.batch.logps)
        counted = part.batch.mask & (coefficient != 0)
        if part.gradient is not None and bool(counted.any()):
            factors += (part.gradient[counted] / coefficient[counted]).tolist()
    low, high = (min(factors), max(factors)) if factors else (0.0, 0.0)
    report.check(
        "micro-batches", low > 0 and high - low <= 1e-4 * high,
        f"step {update.step}: the gradient of a row arrives with factors between {low:.4g} and {high:.4g}: the loss "
        "of a step is the plain sum over micro-batches, of any size",
    )  # fmt: skip


def _tokens(
    report: Report, step: int, updates: Sequence[Update], trajectories: Sequence[Trajectory],
    reference: Callable[[Trajectory], Tensor],
) -> None:  # fmt: skip
    """Old log-probs are those of a trajectory, and the reference's those of the initial weights on it."""
    own = [(torch.tensor(_sampled(t), dtype=torch.float64), reference(t)) for t in trajectories]
    unknown, worst = 0, 0.0
    for update in updates:
        for _, part, k in update.rows():
            _, old, ref = part.tokens(k)
            same = [r for o, r in own if len(o) == len(old) and float((o - old).abs().max()) <= TOLERANCE / 10]
            unknown += not same
            if same:
                worst = max(worst, min(float((r - ref).abs().max()) for r in same))
    report.check(
        "rows", unknown == 0,
        f"step {step}: the old log-probs of {unknown} rows are not those of the response tokens of any trajectory",
    )  # fmt: skip
    report.check(
        "reference", worst <= TOLERANCE,
        f"step {step}: the reference's log-probs are up to {worst:.3g} nats away from those of the initial weights",
    )  # fmt: skip


def _score(trajectory: Trajectory, missing: float) -> float:
    score = None if trajectory.verdict is None else trajectory.verdict.score
    return missing if score is None else float(score)


def _sampled(trajectory: Trajectory) -> list[float]:
    return [p for p, counted in zip(trajectory.logprobs, trajectory.loss_mask, strict=True) if counted]


def _short(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:8])
    return f"[{shown}{', ...' if len(values) > 8 else ''}]"
