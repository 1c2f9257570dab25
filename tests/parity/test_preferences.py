"""Value and gradient of the preference objectives against TRL's own loss code, on ragged random rows in float64."""

import dataclasses

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.testing.steps import evaluate, make_step

pytest.importorskip("trl")
from parity import trl_preferences as trl

BOUND = 1e-10


def ragged(seed, pairs=7, tokens=9, spread=0.4):
    """Pairs of responses of 1 to 9 tokens, with holes where an environment speaks."""
    return make_step(pairs=pairs, tokens=tokens, seed=seed, spread=spread)


def of_pairs(function, reference=True):
    """``function(logps, ref, mask, ...)`` of a step's preferences, or without ``ref``."""

    def theirs(leaf, step, **given):
        rows = step.preferences
        arguments = (leaf, rows.ref_logps, rows.mask) if reference else (leaf, rows.mask)
        return function(*arguments, **given)

    return theirs


def of_labels(leaf, step, **given):
    return trl.kto(leaf, step.preferences.ref_logps, step.preferences.mask, step.chosen, **given)


DPO, CPO, ORPO = of_pairs(trl.dpo), of_pairs(trl.cpo, False), of_pairs(trl.orpo, False)

# objective, its options, TRL's function, TRL's settings
PAIRS = [
    ("dpo", {"beta": 0.3}, DPO, {"loss_type": "sigmoid", "beta": 0.3}),
    ("slic", {"beta": 0.7}, DPO, {"loss_type": "hinge", "beta": 0.7}),
    ("ipo", {"tau": 0.2}, DPO, {"loss_type": "ipo", "beta": 0.2}),
    ("robust-dpo", {"label_noise": 0.2}, DPO, {"loss_type": "robust", "beta": 0.1, "label_smoothing": 0.2}),
    ("nca", {"beta": 0.3}, DPO, {"loss_type": "nca_pair", "beta": 0.3}),
    ("bco", {"beta": 0.3, "delta": "none"}, DPO, {"loss_type": "bco_pair", "beta": 0.3}),
    ("sppo", {"beta": 0.3}, DPO, {"loss_type": "sppo_hard", "beta": 0.3}),
    ("apo-zero", {"beta": 0.3}, DPO, {"loss_type": "apo_zero", "beta": 0.3}),
    ("apo-down", {"beta": 0.3}, DPO, {"loss_type": "apo_down", "beta": 0.3}),
    ("sft", {}, DPO, {"loss_type": "sft"}),
    ("cpo", {"beta": 0.3, "nll_coefficient": 0.6}, CPO, {"beta": 0.3, "cpo_alpha": 0.6}),
    ("cpo", {"nll_coefficient": 0.0}, CPO, {"cpo_alpha": 0.0}),
    (
        "slic",
        {"beta": 0.3, "reference": False, "nll_coefficient": 0.5},
        CPO,
        {"loss_type": "hinge", "beta": 0.3, "cpo_alpha": 0.5},
    ),
    (
        "simpo",
        {"beta": 2.0, "gamma": 0.7},
        CPO,
        {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 0.7, "cpo_alpha": 0.0},
    ),
]  # fmt: skip
LABELS = [
    ("kto", {"beta": 0.3}, of_labels, {"beta": 0.3}),
    (
        "kto",
        {"beta": 0.5, "desirable_weight": 1.4, "undesirable_weight": 0.6},
        of_labels,
        {"beta": 0.5, "desirable": 1.4, "undesirable": 0.6},
    ),
    ("kto", {"beta": 0.3, "z0": "none"}, of_labels, {"beta": 0.3, "loss_type": "apo_zero_unpaired"}),
]  # fmt: skip


def ids(cases):
    return [f"{name}-{given.get('loss_type', 'default')}-{i}" for i, (name, _, _, given) in enumerate(cases)]


def check(name, options, theirs, given, step, bound=BOUND):
    found = evaluate(fg.get_objective(name, **options), step, units=2)
    leaf = step.preferences.logps.clone().requires_grad_()
    loss = theirs(leaf, step, **given)
    (gradient,) = torch.autograd.grad(loss, leaf)
    assert loss.dtype == gradient.dtype == torch.float64
    assert float(gradient.norm()) > 1e-3  # nothing is compared where neither moves
    torch.testing.assert_close(found.loss, loss.detach(), rtol=bound, atol=bound)
    torch.testing.assert_close(found.gradients["preferences"], gradient, rtol=bound, atol=bound)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "options", "theirs", "given"), PAIRS, ids=ids(PAIRS))
def test_pairs(name, options, theirs, given, seed):
    check(name, options, theirs, given, ragged(seed))


@pytest.mark.parametrize("seed", range(3))
def test_orpo(seed, monkeypatch):
    """Its loss casts to float32; the cast alone is taken away, so that the formula is compared in float64."""
    monkeypatch.setattr(torch.Tensor, "float", lambda x: x.to(torch.float64) if x.is_floating_point() else x.double())
    check("orpo", {"lam": 0.7}, ORPO, {"beta": 0.7}, ragged(seed))


@pytest.mark.parametrize("seed", range(3))
def test_orpo_as_it_is(seed):
    step = ragged(seed)
    found = evaluate(fg.get_objective("orpo", lam=0.7), step)
    theirs = trl.orpo(step.preferences.logps, step.preferences.mask, beta=0.7)
    assert float(found.loss) == pytest.approx(float(theirs), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "kept", [[0, 1, 2, 3, 4, 5], [0, 2, 3, 4, 6], [1, 3, 4]], ids=["pairs", "more-good", "more-bad"]
)
@pytest.mark.parametrize(("name", "options", "theirs", "given"), LABELS, ids=ids(LABELS))
def test_labelled_single_responses(name, options, theirs, given, kept, seed):
    step = ragged(seed)
    # The policy is mostly above the reference, so that z0 is not clamped at 0.
    rows = dataclasses.replace(step.preferences, ref_logps=step.preferences.ref_logps - 0.2)
    step = dataclasses.replace(step, preferences=dataclasses.replace(rows, unit=torch.arange(14)))
    step = step.with_preference_rows(torch.tensor(kept))
    check(name, options, theirs, given, step)


def test_bco_with_one_denominator_is_half_of_bco_pair():
    step = ragged(4)
    found = evaluate(fg.get_objective("bco", delta="none", denominator="rows"), step)
    theirs = DPO(step.preferences.logps, step, loss_type="bco_pair")
    assert float(found.loss) == pytest.approx(float(theirs) / 2, rel=BOUND)


def test_what_the_options_change():
    """Without its option each of these is another loss than TRL's: the options are not decoration."""
    step = ragged(5)
    rows = dataclasses.replace(step.preferences, ref_logps=step.preferences.ref_logps - 0.5)
    step = dataclasses.replace(step, preferences=rows)
    for name, options, theirs, given in (
        ("ipo", {"length_normalised": False}, DPO, {"loss_type": "ipo"}),
        ("bco", {}, DPO, {"loss_type": "bco_pair"}),
        ("kto", {"z0": "none"}, of_labels, {}),
    ):
        ours = evaluate(fg.get_objective(name, **options), step).loss
        assert abs(float(ours) - float(theirs(rows.logps, step, **given))) > 1e-4, name


def test_ipo_without_normalisation_pulls_harder():
    """At the reference the norms of the gradients are in the ratio sqrt(sum |y| / sum 1/|y|) over the responses."""
    step = ragged(6, pairs=200, tokens=8).on_reference()
    whole, mean = (evaluate(fg.get_objective("ipo", length_normalised=flag), step).norm for flag in (False, True))
    lengths = step.preferences.mask.sum(-1).double()
    assert whole / mean == pytest.approx(float((lengths.sum() / (1 / lengths).sum()) ** 0.5), rel=1e-10)
    assert whole / mean == pytest.approx(5.7, abs=0.05)  # responses of 5.9 tokens on average
