"""The pair objectives far from the reference, and orpo where probabilities reach 1."""

import math

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.testing.steps import evaluate, make_step
from fdiv_gym_baselines.orpo import CEILING, log_odds

BOUNDED = {"apo-zero": 2.0, "apo-down": 2.0}
PAIRS = ["cpo", "orpo", "slic", "apo-zero", "apo-down", "robust-dpo", "nca", "sppo", "ipo", "dpo", "simpo"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shift", [-1e4, -800.0, 800.0, 1e4])
@pytest.mark.parametrize("name", PAIRS)
def test_far_from_the_reference(name, shift, dtype):
    """The policy gives chosen responses another log-prob than the reference, by ``shift`` nats a token."""
    step = make_step(seed=1).map(lambda values: values.to(dtype))
    rows = step.preferences
    far = torch.where(step.chosen.unsqueeze(-1), rows.ref_logps + shift, rows.ref_logps)
    # Log-probs above 0 do not exist: the reference is lowered instead.
    excess = far.clamp(min=0).amax()
    step = step.with_logps("preferences", far - excess)
    outcome = evaluate(fg.get_objective(name), step)
    assert outcome.finite
    if name in BOUNDED:
        assert 0 <= float(outcome.value) <= BOUNDED[name]


def test_log_odds_by_hand():
    logp = torch.tensor([math.log(0.5), math.log(0.9), math.log(0.01), -700.0], dtype=torch.float64)
    expected = torch.tensor([0.0, math.log(9), -math.log(99), -700.0], dtype=torch.float64)
    torch.testing.assert_close(log_odds(logp), expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_odds_at_probability_one(dtype):
    logp = torch.tensor([0.0, -1e-12, CEILING, -1e-3, -0.6931, -0.6932], dtype=dtype, requires_grad=True)
    odds = log_odds(logp)
    (gradient,) = torch.autograd.grad(odds.sum(), logp)
    assert bool(torch.isfinite(odds).all())
    assert bool(torch.isfinite(gradient).all())
    assert bool((odds[:-1] >= odds[1:]).all())
    assert bool((gradient >= 1).all())  # 1/(1 - p); 1 beyond the ceiling
    assert float(odds[0].detach()) == pytest.approx(-math.log(1e-6), abs=1e-4)


def test_a_pair_beyond_the_margin_has_no_gradient_under_slic():
    step = make_step(pairs=2, seed=3).on_reference()
    moved = step.preferences.logps.clone()
    moved[0] += 5.0 / step.preferences.mask[0].sum()  # the first pair's margin becomes 5 nats
    outcome = evaluate(fg.get_objective("slic", beta=0.5), step.with_logps("preferences", moved))
    assert not bool(outcome.gradients["preferences"][:2].any())
    assert float(outcome.value) == pytest.approx(0.5)  # the other pair has margin 0
    wider = evaluate(fg.get_objective("slic", beta=0.5, margin=3.0), step.with_logps("preferences", moved))
    assert float(wider.value) == pytest.approx((0.5 + 3.0) / 2)


def test_robust_dpo_is_unbiased():
    """Its mean over exchanged labels, with the shares (1 - e) and e, is dpo on the right labels."""
    step = make_step(pairs=1, seed=4)
    exchanged = step.with_preference_rows(torch.tensor([1, 0]))
    exchanged = type(step)(exchanged.rewards, exchanged.group, exchanged.rollouts, step.chosen, exchanged.preferences)
    robust = fg.get_objective("robust-dpo", beta=0.5, label_noise=0.3)
    mean = 0.7 * evaluate(robust, step).value + 0.3 * evaluate(robust, exchanged).value
    assert float(mean) == pytest.approx(float(evaluate(fg.get_objective("dpo", beta=0.5), step).value), abs=1e-14)


def test_robust_dpo_without_noise_is_dpo():
    step = make_step(seed=5)
    robust, plain = (
        evaluate(fg.get_objective("robust-dpo", label_noise=0.0), step),
        evaluate(fg.get_objective("dpo"), step),
    )
    torch.testing.assert_close(robust.gradients["preferences"], plain.gradients["preferences"], rtol=1e-14, atol=0)


def test_apo_down_lowers_both_sides():
    """At the reference the chosen response has gradient 0; past it, both log-probs fall and the margin widens."""
    step = make_step(seed=6).on_reference()
    pull = evaluate(fg.get_objective("apo-down", beta=1.0), step).gradients["preferences"].sum(-1)
    assert float(pull[step.chosen].abs().max()) < 1e-15
    assert bool((pull[~step.chosen] > 0).all())
    lowered = step.preferences.logps - 0.5 * (~step.chosen).double().unsqueeze(-1)
    pull = evaluate(fg.get_objective("apo-down", beta=1.0), step.with_logps("preferences", lowered))
    gradient = pull.gradients["preferences"].sum(-1)
    assert bool((gradient[step.chosen] > 0).all())
    assert bool((gradient[~step.chosen] > 0).all())


def test_nca_turns_at_log_2():
    """The gradient on the chosen response is beta times (3/2 sigmoid(v) - 1): 0 at v = log 2."""
    step = make_step(pairs=1, tokens=1, seed=7).on_reference()
    moved = step.preferences.logps.clone()
    for v, sign in ((math.log(2) - 0.01, -1), (math.log(2) + 0.01, 1)):
        moved[0] = step.preferences.ref_logps[0] + v / 0.5
        outcome = evaluate(fg.get_objective("nca", beta=0.5), step.with_logps("preferences", moved))
        assert math.copysign(1, float(outcome.gradients["preferences"][0])) == sign
