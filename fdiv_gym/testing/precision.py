"""Checks of objectives in low precision and on extreme log-ratios."""

from __future__ import annotations

import dataclasses

import torch

from fdiv_gym.objectives.base import Objective
from fdiv_gym.testing.invariants import finiteness
from fdiv_gym.testing.report import Report
from fdiv_gym.testing.steps import Rows, Step, evaluate, make_step


def half_precision(objective: Objective, report: Report) -> None:
    """Log-probs in bfloat16 are converted to fp32: the result is finite, and as precise as their rounding."""
    for step in (make_step(seed=11, tokens=40), _hard_to_subtract()):
        rounded = step.map(lambda values: values.bfloat16())
        found = evaluate(objective, rounded)
        expected = evaluate(objective, rounded.map(lambda values: values.double()))
        report.check("bfloat16", found.finite, finiteness(found))
        gap = abs(float(found.loss) - float(expected.loss))
        report.check(
            "bfloat16",
            gap <= 1e-4 * max(1.0, abs(float(expected.loss))),
            f"on the same rounded log-probs the loss differs by {gap:.3g} from fp64: compute in fp32 or wider",
        )


def _hard_to_subtract() -> Step:
    """Log-probs that bfloat16 holds exactly, but not their differences.

    The differences are 1027/1024 and -1029/1024 nats in turn. Rounded to bfloat16 both lose 3/1024, so a response of
    60 tokens loses up to 0.18 nats, which is more than its log-ratio. The share of such tokens differs by row, and the
    others have the log-ratio 0.
    """
    step = make_step(seed=15, tokens=60, full_length=True)
    near, far = (-141 / 1024, -139 / 1024), -146 / 128

    def rows(old: Rows, seed: int) -> Rows:
        count, width = old.mask.shape
        even = (torch.arange(width) % 2 == 0).expand(count, width)
        upto = torch.randint(width + 1, (count, 1), generator=torch.Generator().manual_seed(seed))
        logps = torch.where(even, near[0], far).double()
        other = torch.where(torch.arange(width) < upto, torch.where(even, far, near[1]).double(), logps)
        return dataclasses.replace(
            old, logps=logps, ref_logps=other, old_logps=None if old.old_logps is None else other
        )

    return dataclasses.replace(step, rollouts=rows(step.rollouts, 16), preferences=rows(step.preferences, 17))


def extremes(objective: Objective, report: Report) -> None:
    """Log-ratios of hundreds of nats, as from a damaged policy or checkpoint, give finite results."""
    for size in (20.0, 100.0):
        step = make_step(seed=12, spread=size).map(lambda values: values.float())
        found = evaluate(objective, step)
        report.check("extremes", found.finite, f"log-ratios of {size:g} nats a token: {finiteness(found)}")
