"""One claim for each registered objective: value and gradient are those of its formula, written apart in numpy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from fdiv_gym.objectives.base import Objective, get_objective
from fdiv_gym.registry.lookup import list_entries
from fdiv_gym.testing.steps import Rows, Step, evaluate, make_step
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.subjects import OURS
from fdiv_gym.theory.formulas import FORMULAS, Data, Preferences, Rollouts, central_differences

BOUND = 1e-6
NAN = float("nan")
#: Groups of 4, 3, 5, 2: unevenly spaced, one response without a score, one group whose rewards are all equal.
REWARDS = (0.9, 0.1, 0.35, 0.2, 0.0, 1.0, NAN, 2.0, 1.5, 0.3, 1.9, -0.4, 0.7, 0.7)


#: The same groups: rewards .03 apart, a group with a single score, and a tie of three.
CLOSE = (0.50, 0.52, 0.51, 0.53, 0.2, NAN, NAN, 0.4, 0.4, 0.9, 0.4, -0.3, 0.1, 1.2)
#: No log-prob is above this, in nats; probabilities above 1 have no meaning.
CEILING = -0.01


def steps_for(objective: Objective) -> list[Step]:
    """Steps near and far from the reference and the sampling policy, with the edge cases that the streams allow.

    The second has log-ratios with a deviation of 1.6 nats a token, tokens of probability above .9, responses of one
    token, nearly equal rewards, and a reference above the policy on the preferences. Objectives without pairs also
    get unequal numbers of chosen and rejected rows, and rows of one side only.
    """
    step = dataclasses.replace(make_step((4, 3, 5, 2), seed=8), rewards=torch.tensor(REWARDS, dtype=torch.float64))
    # A positive mean log-ratio, so that no statistic that is clamped at 0 vanishes.
    rows = dataclasses.replace(step.preferences, ref_logps=step.preferences.ref_logps - 0.15)
    steps = [dataclasses.replace(step, preferences=rows), far_step()]
    if objective.needs_pairs or "preferences" not in objective.streams:
        return steps
    small = steps[0].with_responses(torch.arange(4))
    return [
        *steps,
        steps[0].with_preference_rows(torch.tensor([0, 1, 2, 4, 6, 7, 8])),
        *(small.with_preference_rows(side.nonzero().squeeze(-1)) for side in (step.chosen, ~step.chosen)),
    ]


def far_step() -> Step:
    """Far from the reference and the sampling policy; see ``steps_for``."""
    step = make_step((4, 3, 5, 2), seed=11, spread=1.6)
    rollouts, preferences = certain(step.rollouts), certain(step.preferences)
    above = dataclasses.replace(preferences, ref_logps=(preferences.logps + 0.3).clamp(max=CEILING))
    rewards = torch.tensor(CLOSE, dtype=torch.float64)
    return dataclasses.replace(step, rewards=rewards, rollouts=rollouts, preferences=above)


def certain(rows: Rows) -> Rows:
    """Every third row near certainty, every fourth of a single token, and all log-probs below ``CEILING``."""
    every = torch.arange(len(rows.logps))
    logps = torch.where((every % 3 == 0).unsqueeze(-1), rows.logps / 30 + CEILING, rows.logps)
    first = rows.mask & (rows.mask.cumsum(1) == 1)
    mask = torch.where((every % 4 == 1).unsqueeze(-1), first, rows.mask)
    limited = dataclasses.replace(rows, logps=logps, mask=mask)
    return limited.map(lambda values: values.clamp(max=CEILING))


def as_data(step: Step) -> Data:
    """The step as numpy arrays."""
    r, p = step.rollouts, step.preferences
    assert r.old_logps is not None
    rollouts = [r.logps, r.ref_logps, r.old_logps, r.mask, step.rewards, step.group]
    preferences = [p.logps, p.ref_logps, p.mask, step.chosen, p.unit]
    return Data(Rollouts(*(x.numpy() for x in rollouts)), Preferences(*(x.numpy() for x in preferences)))


def gap(objective: Objective, step: Step, formula: Callable[[Data, Data], float]) -> float:
    """The larger of the relative differences in value and gradient between an objective and a formula."""
    data, found = as_data(step), evaluate(objective, step)
    expected = formula(data, data)
    worst = abs(float(found.value) - expected) / max(1.0, abs(expected))
    differences = norm = 0.0
    for stream, gradient in found.gradients.items():
        derivative = central_differences(lambda moved: formula(moved, data), data, stream)
        differences += float(((gradient.numpy() - derivative) ** 2).sum())
        norm += float((derivative**2).sum())
    return float(np.maximum(worst, (differences / max(norm, 1e-24)) ** 0.5))  # NaN stays NaN


def against_formula(name: str) -> Claim:
    """The registered objective against its row of the table of formulas."""
    formula = FORMULAS.get(name)
    if formula is None and name in first_party():
        return Claim(f"{name}: no formula", OURS, NAN, BOUND, detail="every objective of fdiv-gym needs one")
    if formula is None:
        return Claim(f"{name}: no formula known", OURS, 0, None, detail="this objective is compared with nothing here")
    worst = 0.0
    for options in formula.cases:
        objective = get_objective(name, **options)
        for step in steps_for(objective):
            found = gap(objective, step, lambda d, held, o=options: formula.value(d, held, **o))  # type: ignore[misc]
            worst = float(np.maximum(worst, found))
    detail = f"{len(formula.cases)} settings, off the reference and the sampling policy; central differences"
    return Claim(f"{name}: value, gradient = its formula", formula.source, worst, BOUND, detail=detail)


def objective_claims() -> list[Callable[[], Claim]]:
    """One measure for each registered objective, named ``formula_of_<objective>``."""
    return [_measure(entry.name) for entry in list_entries("objective") if entry.status == "ok"]


def first_party() -> list[str]:
    """The objectives that fdiv-gym itself registers."""
    return [e.name for e in list_entries("objective") if e.distribution == "fdiv-gym"]


def without_formula() -> list[str]:
    """The registered objectives that have no formula."""
    return [entry.name for entry in list_entries("objective") if entry.name not in FORMULAS]


def _measure(name: str) -> Callable[[], Claim]:
    def measure() -> Claim:
        return against_formula(name)

    measure.__name__ = f"formula_of_{name.replace('-', '_')}"
    measure.__doc__ = f"{name}: value and gradient are those of its formula."
    return measure
