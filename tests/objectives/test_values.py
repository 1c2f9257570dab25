"""Each objective against its independent reference: value, and gradient by central differences of the reference."""

import dataclasses
import math

import numpy as np
import pytest

import fdiv_gym as fg
from fdiv_gym.testing.steps import evaluate, make_step
from objectives import reference as ref

SCALE = 1 / (1 + 1 / 0.1)
SUMMED = {"name": "constant-length", "length": 1}


def hal_hellinger(d, p):
    return ref.f_hal(d, p, 0.2, 1.0, "hellinger", gamma=1.0)


def kto_weighted(d, p, frozen=None):
    return ref.kto(p, 0.1, 1.3, 0.6, frozen)


def slic_without_reference(d, p):
    return ref.slic(p, 0.1, 0.7, False, 0.2)


# name, options, reference of (rollouts, preferences)
CASES = [
    *(
        ("f-grpo", {"divergence": {"name": name, "link": "fgan"}}, lambda d, p, name=name: ref.f_grpo(d, name))
        for name in ref.LINKS
    ),
    ("f-grpo", {"gamma": 1.0, "beta": 0.3}, lambda d, p: ref.f_grpo(d, beta=0.3, gamma=1.0)),
    ("f-grpo", {"weighting": "softmax"}, lambda d, p: ref.f_grpo(d, weighting="softmax")),
    ("f-grpo", {"weighting": "length_normalised"}, lambda d, p: ref.f_grpo(d, weighting="length_normalised")),
    *(
        ("f-grpo", {"advantage": kind}, lambda d, p, kind=kind: ref.f_grpo(d, kind=kind))
        for kind in ("mean-centred", "leave-one-out", "max-normalised", "batch")
    ),
    *(
        ("fdo", {"divergence": {"name": name, "link": "fgan"}}, lambda d, p, name=name: ref.fdo(p, name))
        for name in ref.LINKS
    ),
    ("fdo", {"beta": 0.7}, lambda d, p: ref.fdo(p, beta=0.7)),
    ("kldo", {}, lambda d, p: ref.kldo(p)),
    ("kldo", {"beta": 2.0}, lambda d, p: ref.kldo(p, 2.0)),
    ("f-hal", {}, lambda d, p: ref.f_hal(d, p)),
    ("f-hal", {"lam": 0.2, "divergence": "hellinger", "gamma": 1.0}, hal_hellinger),
    ("f-hal", {"lam": 0.8, "off_policy_scale": "matched"}, lambda d, p: ref.f_hal(d, p, 0.8, SCALE)),
    ("grpo", {}, lambda d, p: ref.grpo(d)),
    ("grpo", {"beta": 0.0, "clip_low": 0.1, "clip_high": 0.4}, lambda d, p: ref.grpo(d, 0.1, 0.4, 0.0)),
    ("dr-grpo", {}, lambda d, p: ref.dr_grpo(d)),
    ("dapo", {}, lambda d, p: ref.dapo(d)),
    ("gspo", {}, lambda d, p: ref.gspo(d)),
    ("gspo", {"clip_low": 0.1, "clip_high": 0.2}, lambda d, p: ref.gspo(d, 0.1, 0.2)),
    ("cispo", {}, lambda d, p, frozen=None: ref.cispo(d, frozen=frozen)),
    ("cispo", {"clip_low": 0.1, "clip_high": 0.2}, lambda d, p, frozen=None: ref.cispo(d, 0.1, 0.2, frozen)),
    ("rloo", {}, lambda d, p: ref.rloo(d)),
    ("reinforce", {}, lambda d, p: ref.reinforce(d)),
    ("dpo", {"beta": 0.4}, lambda d, p: ref.dpo(p, 0.4)),
    ("ipo", {"tau": 0.2}, lambda d, p: ref.ipo(p, 0.2)),
    ("ipo", {"length_normalised": False}, lambda d, p: ref.ipo(p, normalised=False)),
    ("simpo", {}, lambda d, p: ref.simpo(p)),
    ("kto", {"desirable_weight": 1.3, "undesirable_weight": 0.6}, kto_weighted),
    ("kto", {"beta": 0.5}, lambda d, p, frozen=None: ref.kto(p, 0.5, frozen=frozen)),
    ("kto", {"z0": "none"}, lambda d, p: ref.kto(p, z0=0.0)),
    ("bco", {}, lambda d, p, frozen=None: ref.bco(p, frozen=frozen)),
    ("bco", {"denominator": "rows"}, lambda d, p, frozen=None: ref.bco(p, frozen=frozen, rows=True)),
    ("bco", {"delta": "none", "beta": 0.6}, lambda d, p: ref.bco(p, 0.6, delta=0.0)),
    ("cpo", {}, lambda d, p: ref.cpo(p)),
    ("cpo", {"beta": 0.4, "nll_coefficient": 0.3, "aggregation": SUMMED}, lambda d, p: ref.cpo(p, 0.4, 0.3, True)),
    ("orpo", {}, lambda d, p: ref.orpo(p)),
    ("orpo", {"lam": 1.5}, lambda d, p: ref.orpo(p, 1.5)),
    ("slic", {"beta": 2.0}, lambda d, p: ref.slic(p, 2.0)),
    ("slic", {"reference": False, "margin": 0.7, "nll_coefficient": 0.2}, slic_without_reference),
    ("apo-zero", {"beta": 0.7}, lambda d, p: ref.apo_zero(p, 0.7)),
    ("apo-down", {"beta": 0.7}, lambda d, p: ref.apo_down(p, 0.7)),
    ("robust-dpo", {}, lambda d, p: ref.robust_dpo(p)),
    ("robust-dpo", {"beta": 0.5, "label_noise": 0.3}, lambda d, p: ref.robust_dpo(p, 0.5, 0.3)),
    ("nca", {"beta": 0.6}, lambda d, p: ref.nca(p, 0.6)),
    ("sppo", {"beta": 0.4}, lambda d, p: ref.sppo(p, 0.4)),
    ("sft", {}, lambda d, p: ref.sft(p)),
    ("sft", {"aggregation": "sequence"}, lambda d, p: ref.sft(p, per_token=False)),
]  # fmt: skip
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(CASES)]


def ragged_step(seed):
    """Groups of 4, 1, 3, 5 responses; three without a score, one group all equal; random masks."""
    step = make_step((4, 1, 3, 5), pairs=4, tokens=5, seed=seed)
    rewards = step.rewards.clone()
    rewards[step.group == 2] = 0.1 * 7
    rewards[[1, 7, 10]] = math.nan
    return dataclasses.replace(step, rewards=rewards)


def arrays(step, rows, **more):
    old = None if rows.old_logps is None else rows.old_logps.numpy().copy()
    return {
        "logps": rows.logps.numpy().copy(),
        "ref": rows.ref_logps.numpy().copy(),
        "old": old,
        "mask": rows.mask.numpy(),
        **{k: v.numpy() for k, v in more.items()},
    }


def numpy_data(step):
    d = arrays(step, step.rollouts, rewards=step.rewards, group=step.group)
    return d, arrays(step, step.preferences, chosen=step.chosen, unit=step.preferences.unit)


@pytest.mark.parametrize(("name", "options", "formula"), CASES, ids=IDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_value_equals_the_reference(name, options, formula, seed):
    step = ragged_step(seed)
    found = evaluate(fg.get_objective(name, **options), step)
    assert float(found.value) == pytest.approx(formula(*numpy_data(step)), rel=1e-10, abs=1e-13)


@pytest.mark.parametrize(("name", "options", "formula"), CASES, ids=IDS)
def test_gradient_equals_differences_of_the_reference(name, options, formula):
    step, size = ragged_step(2), 1e-5
    objective = fg.get_objective(name, **options)
    found = evaluate(objective, step)
    d, p = numpy_data(step)
    # What the source holds constant is held constant in the reference too.
    frozen = {} if objective.exact_gradient else {"frozen": dict(d if "rollouts" in found.gradients else p)}
    generator = np.random.default_rng(0)
    for stream, gradient in found.gradients.items():
        data = d if stream == "rollouts" else p
        start = data["logps"].copy()
        for _ in range(4):
            direction = generator.standard_normal(start.shape)
            data["logps"] = start + size * direction
            ahead = formula(d, p, **frozen)
            data["logps"] = start - size * direction
            behind = formula(d, p, **frozen)
            data["logps"] = start
            expected = (ahead - behind) / (2 * size)
            assert float((gradient.numpy() * direction).sum()) == pytest.approx(expected, rel=1e-6, abs=1e-9)
