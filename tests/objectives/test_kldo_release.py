"""kldo's options for its authors' release: the moving average, its state, and the normalisation."""

import math

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.testing.steps import evaluate, make_step, prepare
from objectives import reference

STEPS = [make_step(pairs=4, tokens=5, seed=seed, spread=1.0) for seed in range(4)]


def data(step):
    rows = step.preferences
    return {
        "logps": rows.logps.numpy(),
        "ref": rows.ref_logps.numpy(),
        "mask": rows.mask.numpy(),
        "chosen": step.chosen.numpy(),
    }


def weights_of(step, outcome, beta):
    """DL/dv of each row, from the gradient on its first response token."""
    first = step.preferences.mask.long().argmax(-1)
    return outcome.gradients["preferences"][torch.arange(len(first)), first] / beta


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_four_steps_as_in_the_release(beta, rate, normalise):
    objective = fg.get_objective("kldo", beta=beta, moving_rate=rate, normalise=normalise)
    expected = reference.kldo_release([data(step) for step in STEPS], beta, rate, normalise)
    # Without a moving average the 1e-6 that the release adds to it is left out: exact, and its only difference.
    bound = 1e-10 if rate < 1 else 3e-6
    for step, (value, weights) in zip(STEPS, expected, strict=True):
        outcome = evaluate(objective, step, units=1)
        assert float(outcome.value) == pytest.approx(value, rel=1e-10)
        found = weights_of(step, outcome, beta)
        torch.testing.assert_close(found, torch.tensor(weights, dtype=torch.float64), rtol=bound, atol=0)
        if objective.running:
            objective.observe(prepare(objective, step))


def test_the_average_survives_a_checkpoint():
    walked = fg.get_objective("kldo", beta=1.0, moving_rate=0.2)
    assert walked.state_dict() == {}
    for step in STEPS[:2]:
        walked.observe(prepare(walked, step))
    resumed = fg.get_objective("kldo", beta=1.0, moving_rate=0.2)
    resumed.load_state_dict(walked.state_dict())
    first, second = evaluate(walked, STEPS[2]), evaluate(resumed, STEPS[2])
    assert torch.equal(first.gradients["preferences"], second.gradients["preferences"])
    fresh = evaluate(fg.get_objective("kldo", beta=1.0, moving_rate=0.2), STEPS[2])
    assert first.distance(fresh) > 1e-3


def test_prepare_alone_does_not_move_it():
    objective = fg.get_objective("kldo", beta=1.0, moving_rate=0.2)
    first = evaluate(objective, STEPS[0])
    evaluate(objective, STEPS[1])
    assert torch.equal(first.gradients["preferences"], evaluate(objective, STEPS[0]).gradients["preferences"])


def test_a_step_without_rejected_responses_leaves_it():
    objective = fg.get_objective("kldo", moving_rate=0.2)
    objective.observe(prepare(objective, STEPS[0]))
    before = objective.state_dict()
    objective.observe(prepare(objective, STEPS[1].with_preference_rows(torch.tensor([0, 2, 4]))))
    assert objective.state_dict() == before


def test_the_average_does_not_overflow():
    """v of a rejected response jumps by thousands: its weight is at most 1/rate."""
    objective = fg.get_objective("kldo", beta=1.0, moving_rate=0.1)
    objective.observe(prepare(objective, STEPS[0]))
    step = STEPS[1].with_logps("preferences", STEPS[1].preferences.logps + 3000.0)
    outcome = evaluate(objective, step)
    assert outcome.finite
    rejected = weights_of(step, outcome, 1.0)[~step.chosen]
    assert float(rejected.sum()) == pytest.approx(10.0, rel=1e-12)


def test_the_normaliser_by_hand():
    """A = -1/2 and B = 1/4: the factor is -2 and rejected responses are raised; A = 1/2 and B = 1/4: 1; at 0: 0."""
    mask = torch.ones(2, 1, dtype=torch.bool)
    zero = torch.zeros(2, 1, dtype=torch.float64)
    step = make_step(pairs=1, tokens=1, full_length=True)
    rows = type(step.preferences)(zero, zero, None, mask, torch.tensor([0, 0]))
    step = type(step)(step.rewards, step.group, step.rollouts, step.chosen, rows)
    objective = fg.get_objective("kldo", beta=1.0, normalise=True)
    for (chosen, rejected), factor in (((-0.5, 0.25), -2.0), ((0.5, 0.25), 1.0), ((0.0, 0.0), 0.0)):
        moved = torch.tensor([[chosen], [rejected]], dtype=torch.float64)
        outcome = evaluate(objective, step.with_logps("preferences", moved))
        assert float(outcome.gradients["preferences"][1]) == pytest.approx(factor, abs=1e-8)
        assert float(outcome.value) == pytest.approx(-chosen + factor * rejected, abs=1e-8)
    metrics = prepare(objective, step)["preferences"].metrics
    assert metrics == {"preferences/log_mean_exp": 0.0, "preferences/normaliser": 0.0}


def test_one_loss_cannot_move_an_average():
    values = [torch.zeros(2) for _ in range(4)]
    with pytest.raises(fg.ConfigError, match=r"objective 'kldo'.*runs over steps: call its prepare, loss and.*observe"):
        fg.functional.preference_loss(fg.get_objective("kldo", moving_rate=0.1), *values)
    assert float(fg.functional.preference_loss(fg.get_objective("kldo"), *values)) == pytest.approx(0.0)
    assert math.isclose(fg.get_objective("kldo").options.moving_rate, 1.0)
