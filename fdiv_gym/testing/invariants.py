"""Checks of objectives that compare a step with an equivalent one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from fdiv_gym.objectives.advantages.base import checked_advantages
from fdiv_gym.objectives.base import Objective
from fdiv_gym.testing.report import Report
from fdiv_gym.testing.steps import Outcome, Rows, Step, evaluate, make_step

#: Constants whose mean over 7, and over other counts, is not exact in floating point.
AWKWARD = (0.1 * 7, 1.0 / 3.0, 0.7, -1e6 / 7.0)


def mask(objective: Objective, report: Report) -> None:
    """Values outside the mask, even NaN, do not change the result."""
    step = make_step()
    expected = evaluate(objective, step)
    for filler in (torch.nan, torch.inf, 1e4):

        def fill(rows: Rows, filler: float = filler) -> Rows:
            return rows.map(lambda values: torch.where(rows.mask, values, filler))

        filled = dataclasses.replace(step, rollouts=fill(step.rollouts), preferences=fill(step.preferences))
        found = evaluate(objective, filled)
        same = bool(found.loss == expected.loss) and bool(found.value == expected.value)
        report.check("mask", same, f"{filler} outside the mask changes the loss: {_losses(expected, found)}")
        report.check(
            "mask",
            found.distance(expected) == 0,
            f"{filler} outside the mask changes the gradient by {found.distance(expected):.3g}",
        )
        for stream, gradient in found.gradients.items():
            outside = gradient[~step.rows(stream).mask]
            report.check("mask", not bool(outside.any()), f"{stream}: tokens outside the mask have a gradient")


def padding(objective: Objective, report: Report) -> None:
    """Columns of padding on either side do not change the result."""
    step = make_step()

    def pad(rows: Rows) -> Rows:
        wide = rows.map(lambda values: torch.nn.functional.pad(values, (2, 3), value=-7.0))
        return dataclasses.replace(wide, mask=torch.nn.functional.pad(rows.mask, (2, 3)))

    padded = dataclasses.replace(step, rollouts=pad(step.rollouts), preferences=pad(step.preferences))
    found = evaluate(objective, padded)
    inner = {stream: gradient[:, 2:-3] for stream, gradient in found.gradients.items()}
    _equal(report, "padding", "padding", evaluate(objective, step), dataclasses.replace(found, gradients=inner))


def permutation(objective: Objective, report: Report) -> None:
    """The order of groups, of the responses in a group, and of preference units does not change the result."""
    step = make_step()
    generator = torch.Generator().manual_seed(4)
    responses = torch.randperm(len(step.rewards), generator=generator)
    units = torch.randperm(int(step.preferences.unit.max()) + 1, generator=generator)
    rows = torch.cat([(step.preferences.unit == unit).nonzero().squeeze(-1) for unit in units])
    found = evaluate(objective, step.with_responses(responses).with_preference_rows(rows))
    back = {}
    for stream, gradient in found.gradients.items():
        order = responses if stream == "rollouts" else rows
        back[stream] = torch.zeros_like(gradient).index_copy(0, order, gradient)
    _equal(
        report, "permutation", "another order", evaluate(objective, step), dataclasses.replace(found, gradients=back)
    )


def micro_batches(objective: Objective, report: Report) -> None:
    """Any split into micro-batches gives the same sum: loss, value, gradient and metrics."""
    for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        step = make_step((4, 3, 5, 2), pairs=7, seed=5).map(_cast(dtype))
        whole = evaluate(objective, step)
        for units in (1, 3):
            found = evaluate(objective, step, units)
            name = f"{units} unit{'s' if units > 1 else ''} each, {str(dtype).removeprefix('torch.')}"
            _equal(report, "micro-batch", f"splitting into micro-batches ({name})", whole, found, bound)
            for metric, value in whole.metrics.items():
                gap = abs(float(found.metrics.get(metric, torch.nan)) - float(value))
                report.check(
                    "micro-batch",
                    gap <= 10 * bound * max(1.0, abs(float(value))),
                    f"metric {metric!r} does not add up over micro-batches: {float(value):.9g} for one, "
                    f"{float(found.metrics.get(metric, torch.nan)):.9g} for several",
                )


def skipping(objective: Objective, report: Report) -> None:
    """Rows that are declared inactive have no gradient, if the objective allows skipping them."""
    if not objective.skips_inactive:
        return
    step = make_step((4, 3, 5), seed=6)
    rewards = step.rewards.clone()
    rewards[step.group == 1] = 0.5
    step = dataclasses.replace(step, rewards=rewards)
    whole = evaluate(objective, step)
    for stream, gradient in whole.gradients.items():
        idle = gradient[~whole.active[stream]]
        report.check(
            "skip",
            not bool(idle.any()),
            f"{stream}: declares skips_inactive, but an inactive row has a gradient of {float(idle.abs().sum()):.3g}",
        )
    _equal(report, "skip", "skipping inactive rows", whole, evaluate(objective, step, skip=True))


def all_equal(objective: Objective, report: Report) -> None:
    """If all rewards are equal, the gradient does not depend on their value.

    Not of an objective with ``running``: the advantage over a baseline that runs over the steps depends on the value
    of equal rewards. Only its finiteness is checked.
    """
    if "rollouts" not in objective.streams:
        return
    step = make_step((7, 7, 3), seed=7)
    if objective.running:
        found = evaluate(objective, dataclasses.replace(step, rewards=torch.full_like(step.rewards, AWKWARD[0])))
        report.check("all-equal", found.finite, f"if all rewards are {AWKWARD[0]!r}: {finiteness(found)}")
        return
    expected = evaluate(objective, dataclasses.replace(step, rewards=torch.zeros_like(step.rewards)))
    for constant in AWKWARD:
        found = evaluate(objective, dataclasses.replace(step, rewards=torch.full_like(step.rewards, constant)))
        gap = found.distance(expected)
        report.check(
            "all-equal",
            gap == 0 and found.finite,
            f"if all rewards are {constant!r} the gradient differs by {gap:.3g} from that of all rewards 0: "
            "compare minimum and maximum instead of subtracting the mean",
        )


def carried(objective: Objective, report: Report) -> None:
    """Advantages that the groups carry are used in place of those of the declared estimator."""
    if "rollouts" not in objective.streams or objective.advantage is None:
        return
    step = make_step((4, 3, 5), seed=13)
    own = checked_advantages(objective.advantage, step.groups(False))
    expected = evaluate(objective, step)
    same = evaluate(objective, dataclasses.replace(step, advantages=own, estimator=objective.advantage))
    _equal(report, "carried-advantages", "carrying the advantages of the declared estimator", expected, same)
    other = evaluate(objective, dataclasses.replace(step, advantages=-own, estimator=objective.advantage))
    report.check(
        "carried-advantages",
        other.distance(expected) > 1e-9 * expected.norm,
        "groups that carry the opposite advantages give the same gradient: call checked_advantages in place of "
        "compute, because a mini-batch must not have a baseline of its own",
    )


def single_response(objective: Objective, report: Report) -> None:
    """Groups of one response give a finite loss."""
    if "rollouts" not in objective.streams:
        return
    for sizes in ((1, 1, 3), (1,), (1, 1, 1)):
        found = evaluate(objective, make_step(sizes, seed=8))
        report.check("single-response", found.finite, f"groups of {list(sizes)} responses: {finiteness(found)}")


def unscorable(objective: Objective, report: Report) -> None:
    """A response without a score is left out of baseline and loss, and still counts in the denominators."""
    if "rollouts" not in objective.streams:
        return
    step = make_step((4, 4), seed=9, full_length=True)
    lost = torch.tensor([1, 6])
    rewards = step.rewards.clone()
    rewards[lost] = torch.nan
    found = evaluate(objective, dataclasses.replace(step, rewards=rewards))
    if not report.check("unscorable", found.finite, f"with unscored responses {finiteness(found)}"):
        return
    gradient = found.gradients["rollouts"]
    idle = not objective.needs_scores or not bool(gradient[lost].any())
    report.check("unscorable", idle, "a response without a score has a gradient")
    keep = torch.tensor([i for i in range(8) if i not in lost.tolist()])
    without = evaluate(objective, step.with_responses(keep)).gradients["rollouts"]
    _proportional(report, gradient[keep], without)
    rewards[step.group == 0] = torch.nan
    found = evaluate(objective, dataclasses.replace(step, rewards=rewards))
    idle = not objective.needs_scores or not bool(found.gradients["rollouts"][step.group == 0].any())
    report.check("unscorable", found.finite and idle, "a group without any score must contribute nothing")


def _proportional(report: Report, found: Tensor, without: Tensor) -> None:
    """The other responses have the same gradient as without it, up to one common smaller factor."""
    norm = float(without.norm())
    if not report.check("unscorable", norm > 0, "the scored responses have no gradient"):
        return
    ratio = float(found.norm()) / norm
    gap = float((found - ratio * without).norm()) / max(float(found.norm()), 1e-300)
    report.check(
        "unscorable",
        gap <= 1e-9,
        f"a response without a score changes how the others compare (by {gap:.3g}): it must not enter the baseline",
    )
    report.check(
        "unscorable",
        ratio < 1 - 1e-9,
        "a response without a score must still count in the denominators, but the gradient of the others is "
        f"{ratio:.6g} times that without it",
    )


def single_preferences(objective: Objective, report: Report) -> None:
    """An objective that does not need pairs accepts labelled single responses, in any proportion."""
    if "preferences" not in objective.streams or objective.needs_pairs:
        return
    step = make_step(pairs=4, seed=10)
    rows = dataclasses.replace(step.preferences, unit=torch.arange(8))
    singles = dataclasses.replace(step, preferences=rows)
    for name, order in (("three chosen, one rejected", [0, 2, 3, 4]), ("chosen only", [0, 2, 4])):
        found = evaluate(objective, singles.with_preference_rows(torch.tensor(order)), units=1)
        report.check("single-preferences", found.finite, f"{name}: {finiteness(found)}")
    for side, name in ((step.chosen, "chosen"), (~step.chosen, "rejected")):
        _one_side(objective, singles.on_reference(), side, name, report)


def _one_side(objective: Objective, step: Step, side: Tensor, name: str, report: Report) -> None:
    """Rows alone pull at least as much, all together, as beside rows of the other side."""
    alone = evaluate(objective, step.with_preference_rows(side.nonzero().squeeze(-1))).gradients["preferences"]
    beside = evaluate(objective, step).gradients["preferences"][side]
    report.check(
        "single-preferences",
        float(alone.sum().abs()) >= (1 - 1e-9) * float(beside.sum().abs()),
        f"at the reference the gradient of {int(side.sum())} {name} rows alone sums to {float(alone.sum()):.6g}, and "
        f"to {float(beside.sum()):.6g} beside as many of the other side: a side that is alone keeps its weight",
    )


def duplicates(objective: Objective, report: Report) -> None:
    """Preferences that are all given twice have the same loss: it is a mean over rows or units."""
    if "preferences" not in objective.streams:
        return
    step = make_step(pairs=4, seed=14)
    cases = [("pairs", step)]
    if not objective.needs_pairs:
        singles = dataclasses.replace(step, preferences=dataclasses.replace(step.preferences, unit=torch.arange(8)))
        cases += [("chosen rows", singles.with_preference_rows(torch.arange(0, 8, 2)))]
        cases += [("rejected rows", singles.with_preference_rows(torch.arange(1, 8, 2)))]
    for name, once in cases:
        rows = torch.arange(len(once.chosen)).repeat(2)
        # The rollouts stay as they are.
        expected, found = evaluate(objective, once), evaluate(objective, once.with_preference_rows(rows))
        want, got = float(expected.value), float(found.value)
        report.check(
            "duplicates",
            abs(want - got) <= 1e-9 * max(1.0, abs(want)),
            f"the same {name} given twice change the value from {want:.9g} to {got:.9g}: take a mean over them",
        )


def _equal(report: Report, name: str, what: str, expected: Outcome, found: Outcome, bound: float = 1e-12) -> None:
    """Loss and value equal to ``bound``, the gradient to ``bound`` of its norm."""
    for part in ("loss", "value"):
        want, got = float(getattr(expected, part)), float(getattr(found, part))
        close = abs(want - got) <= bound * max(1.0, abs(want))
        report.check(name, close, f"{what} changes the {part}: {want:.15g} before, {got:.15g} after")
    gap, norm = found.distance(expected), expected.norm
    report.check(name, gap <= bound * norm, f"{what} changes the gradient by {gap:.3g}, of norm {norm:.3g}")


def _cast(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda values: values.to(dtype)


def _losses(expected: Outcome, found: Outcome) -> str:
    return f"{float(expected.loss):.9g} before, {float(found.loss):.9g} after"


def finiteness(found: Outcome) -> str:
    """The loss, and which gradients are not finite, for messages."""
    bad = [s for s, g in found.gradients.items() if not bool(torch.isfinite(g).all())]
    return f"the loss is {float(found.loss):g}" + (
        f" and the gradient of {', '.join(bad)} is not finite" if bad else ""
    )
