"""The losses for external training loops: the same numbers as the objectives, and clear errors."""

import math

import pytest
import torch

import fdiv_gym as fg
from objectives import reference

GENERATOR = torch.Generator().manual_seed(0)


def random(n):
    return torch.randn(n, generator=GENERATOR, dtype=torch.float64)


LOGPS, REF, OLD = random(6), random(6), random(6)
REWARDS = torch.tensor([1.0, 0.0, math.nan, 0.2, 0.4, 0.4], dtype=torch.float64)
CHOSEN, REF_CHOSEN, REJECTED, REF_REJECTED = random(3), random(3), random(2), random(2)


def rollouts():
    columns = {name: values.unsqueeze(-1).numpy() for name, values in (("logps", LOGPS), ("ref", REF), ("old", OLD))}
    return columns | {
        "mask": torch.ones(6, 1, dtype=torch.bool).numpy(),
        "rewards": REWARDS.numpy(),
        "group": torch.tensor([0, 0, 0, 1, 1, 1]).numpy(),
    }


def preferences():
    return {
        "logps": torch.cat([CHOSEN, REJECTED]).unsqueeze(-1).numpy(),
        "ref": torch.cat([REF_CHOSEN, REF_REJECTED]).unsqueeze(-1).numpy(),
        "mask": torch.ones(5, 1, dtype=torch.bool).numpy(),
        "chosen": (torch.arange(5) < 3).numpy(),
    }


PREFERENCES = (CHOSEN, REF_CHOSEN, REJECTED, REF_REJECTED)


def test_f_grpo_loss():
    found = fg.functional.f_grpo_loss(
        LOGPS, REF, REWARDS, 3, "hellinger", 0.3, old_logps=OLD, gamma=0.5, weighting="softmax"
    )
    expected = reference.f_grpo(rollouts(), "hellinger", 0.3, 0.5, "softmax")
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_fdo_loss_with_sides_of_unequal_number():
    found = fg.functional.fdo_loss(*PREFERENCES, divergence="pearson", beta=0.3)
    assert float(found) == pytest.approx(reference.fdo(preferences(), "pearson", 0.3), rel=1e-12)


def test_f_hal_loss():
    found = fg.functional.f_hal_loss(LOGPS, REF, REWARDS, 3, *PREFERENCES, lam=0.3, beta=0.2)
    expected = reference.f_hal(rollouts(), preferences(), 0.3, beta=0.2)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_f_hal_loss_at_its_ends():
    on = fg.functional.f_grpo_loss(LOGPS, REF, REWARDS, 3, divergence="jensen_shannon")
    off = fg.functional.fdo_loss(*PREFERENCES)
    assert float(fg.functional.f_hal_loss(LOGPS, REF, REWARDS, 3, *PREFERENCES, lam=0.0)) == float(on)
    assert float(fg.functional.f_hal_loss(LOGPS, REF, REWARDS, 3, *PREFERENCES, lam=1.0)) == float(off)


def test_gradients_reach_all_log_probs_and_nothing_else():
    leaves = [t.clone().requires_grad_() for t in (LOGPS, CHOSEN, REJECTED)]
    loss = fg.functional.f_hal_loss(leaves[0], REF, REWARDS, 3, leaves[1], REF_CHOSEN, leaves[2], REF_REJECTED)
    loss.backward()
    assert torch.equal(leaves[0].grad != 0, torch.tensor([True, True, False, True, True, True]))
    assert bool((leaves[1].grad < 0).all())
    assert bool((leaves[2].grad > 0).all())


def test_a_divergence_may_be_given_as_an_instance():
    by_name = fg.functional.fdo_loss(*PREFERENCES, divergence="hellinger")
    assert fg.functional.fdo_loss(*PREFERENCES, divergence=fg.get_divergence("hellinger")) == by_name
    table = {"name": "kl", "link": "calibrated"}
    assert torch.isfinite(fg.functional.f_grpo_loss(LOGPS, REF, REWARDS, 3, divergence=table))


def test_kldo_by_the_general_door_has_the_true_value():
    leaves = [t.clone().requires_grad_() for t in (CHOSEN, REJECTED)]
    objective = fg.get_objective("kldo", beta=0.5)
    loss = fg.functional.preference_loss(objective, leaves[0], REF_CHOSEN, leaves[1], REF_REJECTED)
    assert float(loss.detach()) == pytest.approx(reference.kldo(preferences(), 0.5), rel=1e-12)
    loss.backward()
    assert float(leaves[1].grad.sum()) == pytest.approx(0.5)  # the softmax weights add up to 1


def test_group_advantages():
    found = fg.functional.group_advantages(REWARDS, 3)
    expected = [1.0, -1.0, 0.0, -math.sqrt(2), math.sqrt(0.5), math.sqrt(0.5)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-4, atol=0)


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"expected tensors of one shape \[B\], got .*'ref_logps': \(5,\)"):
        fg.functional.f_grpo_loss(LOGPS, REF[:5], REWARDS, 3)
    with pytest.raises(ValueError, match=r"do not divide into groups of 4"):
        fg.functional.f_grpo_loss(LOGPS, REF, REWARDS, 4)
    with pytest.raises(ValueError, match="need old_logps"):
        fg.functional.f_grpo_loss(LOGPS, REF, REWARDS, 3, gamma=1.0)
    with pytest.raises(ValueError, match="'ref_rejected_logps': \\(3,\\)"):
        fg.functional.fdo_loss(CHOSEN, REF_CHOSEN, REJECTED, REF_CHOSEN)
    with pytest.raises(fg.ConfigError, match=r"option 'divergence' = 'person': .*\(did you mean 'pearson'"):
        fg.functional.fdo_loss(*PREFERENCES, divergence="person")
