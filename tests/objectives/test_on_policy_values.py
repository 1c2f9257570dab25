"""The objectives that other papers add to GRPO against their references: value, gradient, clip shares."""

import dataclasses

import numpy as np
import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.errors import ConfigError, TrainerError
from fdiv_gym.testing.steps import evaluate, make_step
from objectives import reference_on_policy as ref
from objectives.test_values import numpy_data, ragged_step

COV = {"share": 0.2, "covariance_low": -0.2, "covariance_high": 0.4}

# name, options, reference of the rollouts
CASES = [
    ("bnpo", {}, ref.bnpo),
    ("bnpo", {"advantage": "group"}, lambda d: ref.bnpo(d, ref.group(d))),
    ("sapo", {}, ref.sapo),
    ("sapo", {"temperature_positive": 3.0, "temperature_negative": 7.0}, lambda d: ref.sapo(d, 3.0, 7.0)),
    ("gmpo", {}, ref.gmpo),
    ("gmpo", {"clip_low": 0.1, "clip_high": 0.2}, lambda d: ref.gmpo(d, 0.1, 0.2)),
    ("gpg", {}, ref.gpg),
    ("gpg", {"rescale": False, "advantage": "group"}, lambda d: ref.gpg(d, "group", False)),
    ("dppo", {}, lambda d, frozen=None: ref.dppo(d, frozen=frozen)),
    ("dppo", {"delta_low": 0.01, "delta_high": 0.02}, lambda d, frozen=None: ref.dppo(d, "tv", 0.01, 0.02, 20, frozen)),
    (
        "dppo",
        {"region": "kl", "delta_low": 0.01, "delta_high": 0.005, "truncation": 1.1},
        lambda d, frozen=None: ref.dppo(d, "kl", 0.01, 0.005, 1.1, frozen),
    ),
    ("clip-cov", {}, lambda d: ref.clip_cov(d, 2e-4)),
    ("clip-cov", COV, lambda d: ref.clip_cov(d, 0.2, (-0.2, 0.4))),
    ("clip-cov", {**COV, "clip_low": 0.1, "clip_high": 0.1}, lambda d: ref.clip_cov(d, 0.2, (-0.2, 0.4), 0.1, 0.1)),
    ("kl-cov", {}, lambda d: ref.kl_cov(d, 2e-3)),
    ("kl-cov", {"share": 0.3, "coefficient": 2.0}, lambda d: ref.kl_cov(d, 0.3, 2.0)),
    ("grpo", {"beta": 0.1, "unbiased_k3": True}, lambda d: ref.unbiased_k3(d, 0.1)),
    ("rloo", {"ratio": "sequence"}, lambda d: ref.reinforce(d, "leave-one-out", "sequence")),
    ("rloo", {"ratio": "token", "clip_high": 0.1}, lambda d: ref.reinforce(d, "leave-one-out", "token", 0.2, 0.1)),
    ("reinforce", {"ratio": "sequence", "clip_low": 0.4}, lambda d: ref.reinforce(d, "batch", "sequence", 0.4)),
]  # fmt: skip
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(CASES)]


@pytest.mark.parametrize(("name", "options", "formula"), CASES, ids=IDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_value_equals_the_reference(name, options, formula, seed):
    step = ragged_step(seed)
    found = evaluate(fg.get_objective(name, **options), step)
    assert float(found.value) == pytest.approx(formula(numpy_data(step)[0]), rel=1e-10, abs=1e-13)


@pytest.mark.parametrize(("name", "options", "formula"), CASES, ids=IDS)
def test_gradient_equals_differences_of_the_reference(name, options, formula):
    step, size = ragged_step(2), 1e-6
    objective = fg.get_objective(name, **options)
    gradient = evaluate(objective, step).gradients["rollouts"].numpy()
    d, _ = numpy_data(step)
    frozen = {} if objective.exact_gradient else {"frozen": dict(d)}
    start, generator = d["logps"].copy(), np.random.default_rng(0)
    for _ in range(4):
        direction = generator.standard_normal(start.shape)
        d["logps"] = start + size * direction
        ahead = formula(d, **frozen)
        d["logps"] = start - size * direction
        expected = (ahead - formula(d, **frozen)) / (2 * size)
        d["logps"] = start
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", ["grpo", "dapo"])
def test_clip_shares_below_and_above(name):
    step = ragged_step(3)
    d, _ = numpy_data(step)
    metrics = evaluate(fg.get_objective(name, beta=0.0, clip_low=0.1, clip_high=0.15), step).metrics
    low, high = ref.shares(d, ref.group(d), 0.1, 0.15)
    assert 0 < low < 1
    assert 0 < high < 1
    assert float(metrics["rollouts/clipped_low"]) == pytest.approx(low, abs=1e-12)
    assert float(metrics["rollouts/clipped_high"]) == pytest.approx(high, abs=1e-12)
    assert float(metrics["rollouts/clipped"]) == pytest.approx(low + high, abs=1e-12)


@pytest.mark.parametrize("name", ["grpo", "dr-grpo", "dapo", "bnpo", "gspo", "gmpo", "clip-cov", "dppo"])
def test_clipped_tokens_have_no_gradient(name):
    """The share that is logged is the share of active tokens whose gradient is 0."""
    closed = {"delta_low": 0.02, "delta_high": 0.02} if name == "dppo" else {"clip_low": 0.05, "clip_high": 0.05}
    closed |= {"covariance_low": 50.0, "covariance_high": 60.0} if name == "clip-cov" else {}
    step = make_step((4, 4, 5), seed=4)
    found = evaluate(fg.get_objective(name, **({"beta": 0.0} | closed)), step)
    active = step.rollouts.mask & found.active["rollouts"].unsqueeze(-1)
    idle = (found.gradients["rollouts"][active] == 0).double().mean()
    assert 0 < float(idle) < 1
    assert float(found.metrics["rollouts/clipped"]) == pytest.approx(float(idle), abs=1e-12)


def test_cispo_logs_weights_at_their_bounds():
    step = make_step((4, 4), seed=5)
    metrics = evaluate(fg.get_objective("cispo", clip_low=0.1, clip_high=0.2), step).metrics
    ratio = (step.rollouts.logps - step.rollouts.old_logps).exp()
    ratio = ratio[step.rollouts.mask & (step.rewards != 0.5).unsqueeze(-1)]
    assert float(metrics["rollouts/clipped_low"]) == pytest.approx(float((ratio < 0.9).double().mean()), abs=1e-12)
    assert float(metrics["rollouts/clipped_high"]) == pytest.approx(float((ratio > 1.2).double().mean()), abs=1e-12)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_ratios_do_not_change_the_gradient_at_the_sampling_policy(level):
    step = make_step((4, 4), seed=6).on_reference()
    plain, corrected = (evaluate(fg.get_objective("rloo", ratio=ratio), step) for ratio in ("none", level))
    assert corrected.distance(plain) <= 1e-12 * plain.norm


@pytest.mark.parametrize("name", ["clip-cov", "kl-cov"])
def test_selection_does_not_depend_on_the_micro_batch(name):
    """The release of the source selects within a micro-batch: its loss would depend on its size."""
    options = {"share": 0.25, **({"covariance_low": -0.5} if name == "clip-cov" else {})}
    step = make_step((4, 3, 5, 2), seed=7)
    objective = fg.get_objective(name, **options)
    whole = evaluate(objective, step)
    assert float(whole.metrics["rollouts/selected"]) > 0.1
    for units in (1, 3):
        assert whole.distance(evaluate(objective, step, units)) <= 1e-12 * whole.norm


@pytest.mark.parametrize("name", ["clip-cov", "kl-cov"])
def test_the_log_probs_of_tokens_are_asked_for(name):
    groups = make_step().groups(policy=False)
    with pytest.raises(TrainerError, match="needs_token_logps"):
        fg.get_objective(name).prepare(groups, None)


def test_gpg_rescales_for_prompts_without_gradient():
    """Two of three prompts of four responses have equal rewards: alpha = 12/(12 - 8) = 3."""
    step = make_step((4, 4, 4), seed=8)
    step = dataclasses.replace(step, rewards=torch.where(step.group < 2, 1.0, step.rewards))
    scaled = evaluate(fg.get_objective("gpg"), step)
    plain = evaluate(fg.get_objective("gpg", rescale=False), step)
    assert float(scaled.value) == pytest.approx(3 * float(plain.value), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rloo", {"clip_low": 0.1}, "clip_low clips the ratio"),
        ("reinforce", {"clip_high": 0.3}, "clip_high clips the ratio"),
        ("dapo", {"unbiased_k3": True}, "beta is 0"),
    ],
)
def test_options_without_effect_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        fg.get_objective(name, **options)
