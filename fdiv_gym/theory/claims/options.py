"""Claims on what single steps of ``formula_of_<objective>`` cannot show: advantages, statistics, half precision."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from fdiv_gym.objectives.advantages.base import get_advantage
from fdiv_gym.objectives.base import Objective, get_objective
from fdiv_gym.registry.lookup import list_entries
from fdiv_gym.testing.steps import Step, evaluate, make_step, prepare
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.objectives import BOUND, NAN, as_data, far_step, gap, steps_for
from fdiv_gym.theory.claims.subjects import F_DO, OURS, relative
from fdiv_gym.theory.formulas import FORMULAS, alignment
from fdiv_gym.theory.formulas.estimators import estimated

#: Advantages and their options, on 14 responses with two components; for gprl two dimensions of a preference.
ADVANTAGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("group", {}),
    ("group", {"correction": 1, "eps": 0.1}),
    ("group", {"scale": "step", "eps": 0.2}),
    ("group", {"scale": "step", "correction": 1}),
    ("batch", {"eps": 0.2}),
    ("batch", {"correction": 1}),
    ("mean-centred", {}),
    ("leave-one-out", {}),
    ("max-normalised", {}),
    ("beta-normalised", {"low": -1.0, "high": 2.5}),
    ("reinforce++", {}),
    ("reinforce++", {"baseline": "leave-one-out", "correction": 1, "eps": 0.3}),
    ("gdpo", {}),
    ("gdpo", {"weights": {"form": 0.5, "result": 2.0}, "eps": 0.1}),
    ("gdpo", {"weights": {"form": 3.0}, "correction": 1}),
    ("gprl", {}),
    ("gprl", {"aggregate": "mean", "correction": 1}),
    ("gprl", {"eps": 0.1}),
)
HALF: tuple[tuple[str, dict[str, Any]], ...] = (
    ("dpo", {"beta": 1.0}),
    ("fdo", {"beta": 1.0}),
    ("grpo", {}),
    ("f-grpo", {"beta": 1.0}),
)


def advantages_are_their_formulas() -> Claim:
    """Every registered advantage and its options agree with the estimator written apart in numpy."""
    worst, step = 0.0, steps_for(get_objective("grpo"))[0]
    generator = np.random.default_rng(3)
    parts = {"form": generator.integers(0, 3, 14).astype(float), "result": 5 * generator.normal(size=14)}
    eigenvalues = generator.uniform(0, 2, (2, 4))[:, step.group.numpy()]
    dimensions = {
        "gprl/0": parts["result"],
        "gprl/1": parts["form"],
        "lambda/0": eigenvalues[0],
        "lambda/1": eigenvalues[1],
    }
    rewards, group = step.rewards.numpy(), step.group.numpy()
    for name, options in ADVANTAGES:
        of = dimensions if name == "gprl" else parts
        components = {key: torch.from_numpy(values) for key, values in of.items()}
        found = get_advantage(name, **options).compute(dataclasses.replace(step.groups(False), components=components))
        expected = estimated(rewards, group, {"name": name, **options}, of)
        worst = max(worst, relative(found, torch.from_numpy(expected)))
    registered = {e.name for e in list_entries("advantage") if e.distribution == "fdiv-gym"}
    left = sorted(registered - {name for name, _ in ADVANTAGES})
    detail = f"{len(ADVANTAGES)} settings" + (f"; without a formula: {', '.join(left)}" if left else "")
    return Claim("advantages = their formulas in numpy", OURS, NAN if left else worst, 1e-12, detail=detail)


def carried_advantages_are_used() -> Claim:
    """Where the groups carry advantages every objective uses them and not its own estimator."""
    worst, count = 0.0, 0
    for name, formula in FORMULAS.items():
        objective = get_objective(name)
        if "rollouts" not in objective.streams:
            continue
        step = steps_for(objective)[0]
        carried = torch.where(step.rewards.isnan(), 0.0, torch.linspace(-1, 2, 14).double())
        given = {"name": "given", "values": tuple(carried.tolist())}
        held = dataclasses.replace(step, advantages=carried, estimator=objective.advantage)
        found = gap(objective, held, lambda d, h, f=formula, a=given: f.value(d, h, advantage=a))  # type: ignore[misc]
        worst, count = float(np.maximum(worst, found)), count + 1
    return Claim("carried advantages: formula with them", OURS, worst, BOUND, detail=f"{count} objectives")


def kldo_keeps_a_moving_average() -> Claim:
    """The second and third observed step of kldo divide by rate E_t + (1 - rate) m, m from the steps before."""
    worst, rate, beta = 0.0, 0.3, 0.7
    objective, average = get_objective("kldo", moving_rate=rate, beta=beta, normalise=True), None
    for step in (*(make_step(seed=seed, spread=0.8) for seed in (1, 2)), far_step()):

        def formula(d: Any, held: Any, m: float | None = average) -> float:
            return alignment.kldo(d, held, beta=beta, moving_rate=rate, normalise=True, average=m)

        worst = float(np.maximum(worst, gap(objective, step, formula)))
        average = _next_average(objective, step, beta, rate, average)
    return Claim("kldo: moving average of the release", F_DO, worst, BOUND, detail="3 observed steps, rate 0.3")


def _next_average(objective: Objective, step: Step, beta: float, rate: float, before: float | None) -> float:
    """Let the objective observe the step; the average after it."""
    objective.observe(prepare(objective, step))
    p = as_data(step).preferences
    own = float(np.exp(beta * p.total(p.logps - p.ref))[~p.chosen].mean())
    return own if before is None else rate * own + (1 - rate) * before


def half_precision_is_widened() -> Claim:
    """On log-probs in bf16 the value is that of the formula at the same numbers in fp64: differences are in fp32."""
    worst, step = 0.0, make_step((4, 3, 5, 2), seed=8, tokens=40, full_length=True, spread=0.1)
    rounded = step.map(lambda values: values.bfloat16())
    data = as_data(rounded.map(lambda values: values.double()))
    for name, options in HALF:
        found = float(evaluate(get_objective(name, **options), rounded).value)
        expected = FORMULAS[name].value(data, data, **options)
        worst = max(worst, abs(found - expected) / abs(expected))
    return Claim("bf16 log-probs: value = formula in fp64", OURS, worst, 1e-4, detail="4 objectives, 40 tokens")


CLAIMS = (
    advantages_are_their_formulas,
    carried_advantages_are_used,
    kldo_keeps_a_moving_average,
    half_precision_is_widened,
)
