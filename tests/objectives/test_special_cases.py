"""Where one objective contains another, they are equal."""

import math

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.objectives.f_hal import FHAL
from fdiv_gym.testing.steps import evaluate, make_step

SIX = ("kl", "reverse_kl", "pearson", "hellinger", "jensen_shannon", "total_variation")


def outcome(name, step, **options):
    return evaluate(fg.get_objective(name, **options), step)


def assert_same(first, second, bound=1e-14):
    assert first.gradients.keys() == second.gradients.keys()
    assert first.distance(second) <= bound * max(first.norm, 1e-300)


@pytest.mark.parametrize("divergence", SIX)
@pytest.mark.parametrize(("lam", "part"), [(0.0, "f-grpo"), (1.0, "fdo")])
def test_the_ends_of_f_hal_are_f_grpo_and_fdo_exactly(divergence, lam, part):
    step = make_step(seed=20)
    hybrid = outcome("f-hal", step, lam=lam, divergence=divergence)
    single = outcome(part, step, divergence=divergence)
    assert float(hybrid.loss) == float(single.loss)
    assert hybrid.distance(single) == 0
    assert hybrid.metrics.keys() == single.metrics.keys()


def test_the_end_of_f_hal_reads_one_stream_only():
    assert fg.get_objective("f-hal", lam=0.0).streams == ("rollouts",)
    assert fg.get_objective("f-hal", lam=1.0).streams == ("preferences",)
    assert fg.get_objective("f-hal", lam=0.5).streams == ("rollouts", "preferences")
    # Neither needs the data of the stream that it does not read.
    step = make_step()
    assert set(fg.get_objective("f-hal", lam=0.0).prepare(step.groups(False), None)) == {"rollouts"}
    assert set(fg.get_objective("f-hal", lam=1.0).prepare(None, step.preference_units(False))) == {"preferences"}


def test_f_hal_mixes_the_gradients_of_its_ends():
    step = make_step(seed=21)
    mixed = outcome("f-hal", step, lam=0.3, divergence="hellinger").gradients
    on = outcome("f-grpo", step, divergence="hellinger").gradients["rollouts"]
    off = outcome("fdo", step, divergence="hellinger").gradients["preferences"]
    torch.testing.assert_close(mixed["rollouts"], 0.7 * on, rtol=1e-13, atol=0)
    torch.testing.assert_close(mixed["preferences"], 0.3 * off, rtol=1e-13, atol=0)


def test_matched_off_policy_scale_is_that_of_the_rollouts():
    step = make_step(seed=22)
    paper = outcome("f-hal", step, beta=0.1).gradients["preferences"]
    matched = outcome("f-hal", step, beta=0.1, off_policy_scale="matched").gradients["preferences"]
    torch.testing.assert_close(matched, paper / 11, rtol=1e-13, atol=0)


def test_scheduled_lam_moves_linearly_and_ends_exactly():
    objective = FHAL(lam=0.0, lam_end=1.0)
    assert objective.streams == ("rollouts", "preferences")  # what the whole run will need
    seen = []
    for step in range(1, 6):
        objective.at_step(step, 5)
        seen.append((objective.lam, objective.streams))
    assert [lam for lam, _ in seen] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert seen[0][1] == ("rollouts",)
    assert seen[2][1] == ("rollouts", "preferences")
    assert seen[4][1] == ("preferences",)
    objective.at_step(1, 1)
    assert objective.lam == 0.0


@pytest.mark.parametrize("end", [0.1, 0.3, 0.7])
def test_scheduled_lam_ends_where_it_should(end):
    objective = FHAL(lam=0.9, lam_end=end)
    objective.at_step(7, 7)
    assert objective.lam == end


@pytest.mark.parametrize("divergence", SIX)
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_f_grpo_at_the_reference_is_a_scaled_policy_gradient(divergence, gamma):
    """theory.md section 4: (beta + gamma) g'(0)/(1 + 1/beta) times the gradient of -mean(a log pi)."""
    step = make_step((4, 4), seed=23).on_reference()
    spec = {"name": divergence, "link": "calibrated" if divergence == "kl" else "fgan"}
    beta, slope = 0.2, 0.5 if divergence in ("jensen_shannon", "total_variation") else 1.0
    found = outcome("f-grpo", step, divergence=spec, beta=beta, gamma=gamma).gradients["rollouts"]
    plain = outcome("reinforce", step, advantage="group").gradients["rollouts"]
    torch.testing.assert_close(found, (beta + gamma) * slope / (1 + 1 / beta) * plain, rtol=1e-13, atol=0)


def test_grpo_on_fresh_rollouts_is_the_policy_gradient():
    step = make_step(seed=24).on_reference()
    grpo = outcome("grpo", step, beta=0.0)
    plain = outcome("reinforce", step, advantage="group", aggregation="sequence")
    assert_same(grpo, plain)


def test_dr_grpo_and_dapo_are_grpo_with_other_parts():
    step = make_step(seed=25)
    grpo = outcome("grpo", step, beta=0.0)
    assert_same(grpo, outcome("dr-grpo", step, advantage="group", aggregation="sequence"))
    assert_same(grpo, outcome("dapo", step, aggregation="sequence", clip_high=0.2))
    parts = {"advantage": "mean-centred", "aggregation": "constant-length"}
    assert_same(outcome("dr-grpo", step), outcome("grpo", step, beta=0.0, **parts))


def test_dapo_equals_grpo_where_all_responses_are_of_one_length():
    step = make_step((4, 4), seed=26, full_length=True)
    assert_same(outcome("grpo", step, beta=0.0, clip_high=0.28), outcome("dapo", step))


def test_gspo_on_one_token_is_grpo():
    step = make_step(seed=27, tokens=1)
    assert_same(outcome("gspo", step, clip_low=0.2, clip_high=0.2), outcome("grpo", step, beta=0.0))


def test_gspo_has_one_ratio_for_all_tokens_of_a_response():
    gradient = outcome("gspo", make_step((4, 4), seed=28), clip_low=1.0, clip_high=9.0).gradients["rollouts"]
    for row in gradient:
        own = row[row != 0]
        assert len(own) > 0
        torch.testing.assert_close(own, own[:1].expand_as(own))


def test_cispo_inside_its_bounds_has_the_unclipped_gradient():
    step = make_step(seed=29)
    unclipped = outcome("dapo", step, clip_low=1.0, clip_high=1e6)
    assert_same(outcome("cispo", step, clip_high=1e6), unclipped, 1e-13)


def test_cispo_keeps_the_gradient_of_clipped_tokens():
    step = make_step((4, 4), seed=29, spread=2.0)
    bounded = outcome("cispo", step, clip_low=0.1, clip_high=0.1).gradients["rollouts"]
    assert bool((bounded[step.rollouts.mask] != 0).all())
    assert bool((outcome("dapo", step).gradients["rollouts"][step.rollouts.mask] == 0).any())


def test_rloo_is_reinforce_with_another_advantage():
    step = make_step(seed=30)
    assert_same(outcome("rloo", step), outcome("reinforce", step, advantage="leave-one-out"))


def test_fdo_with_jensen_shannon_is_bco_without_shift():
    """-log 2 - log sigmoid(v+) + softplus(v-) - log 2; antisymmetric log-ratios give bco a shift of 0."""
    step = make_step(seed=31, full_length=True)
    rows = step.preferences
    ratio = (rows.logps - rows.ref_logps).reshape(-1, 2, rows.logps.shape[1])
    mirrored = torch.stack([ratio[:, 0], -ratio[:, 0]], 1).reshape(rows.logps.shape)
    step = step.with_logps("preferences", rows.ref_logps + mirrored)
    fdo, bco = outcome("fdo", step), outcome("bco", step)
    assert float(bco.loss - fdo.loss) == pytest.approx(2 * math.log(2), abs=1e-14)
    assert_same(fdo, bco, 1e-13)


def test_kldo_at_the_reference_pulls_like_fdo_with_calibrated_kl():
    step = make_step(seed=32).on_reference()
    assert_same(outcome("kldo", step), outcome("fdo", step, divergence="kl", link="calibrated"), 1e-13)


def test_dpo_at_the_reference_pulls_half_as_hard_as_calibrated_fdo():
    step = make_step(seed=33).on_reference()
    dpo = outcome("dpo", step).gradients["preferences"]
    fdo = outcome("fdo", step, divergence="pearson").gradients["preferences"]
    torch.testing.assert_close(dpo, fdo / 2, rtol=1e-13, atol=0)


def test_pair_objectives_refuse_single_responses():
    step = make_step(pairs=2)
    singles = step.with_preference_rows(torch.tensor([0, 2, 3]))
    with pytest.raises(fg.ConfigError, match=r"objective 'dpo' compares pairs.*use fdo, kldo, kto or bco"):
        fg.get_objective("dpo").prepare(None, singles.preference_units(False))


def test_kldo_says_that_it_needs_the_policy():
    with pytest.raises(fg.TrainerError, match="needs_policy_logps"):
        fg.get_objective("kldo").prepare(None, make_step().preference_units(False))
