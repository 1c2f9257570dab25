"""Every registered objective passes the kit, with every registered divergence where it takes one."""

import pytest

import fdiv_gym as fg
from fdiv_gym.testing import check_objective

NAMES = [entry.name for entry in fg.list_entries("objective")]
DIVERGENCES = [entry.name for entry in fg.list_entries("divergence")]
VARIANTS = [
    ("f-grpo", {"gamma": 1.0}),
    ("f-grpo", {"weighting": "softmax"}),
    ("f-grpo", {"weighting": "length_normalised", "advantage": "leave-one-out"}),
    ("f-grpo", {"divergence": {"name": "kl", "link": "calibrated"}}),
    ("f-grpo", {"divergence": {"name": "pearson", "conjugate": "exact"}}),
    ("f-grpo", {"advantage": "batch"}),
    ("f-grpo", {"advantage": "max-normalised"}),
    ("f-grpo", {"importance": "sequence"}),
    ("f-grpo", {"importance": "token", "gamma": 1.0}),
    ("f-hal", {"importance": "token", "importance_cap": 5.0}),
    ("f-hal", {"lam": 0.0}),
    ("f-hal", {"lam": 1.0}),
    ("f-hal", {"lam": 0.0, "lam_end": 1.0, "off_policy_scale": "matched"}),
    ("kldo", {"beta": 1.0}),
    ("kldo", {"moving_rate": 0.1}),
    ("ipo", {"length_normalised": False}),
    ("kto", {"z0": "none"}),
    ("bco", {"delta": "none"}),
    ("bco", {"denominator": "rows"}),
    ("cpo", {"nll_coefficient": 0.0}),
    ("orpo", {"aggregation": "sequence"}),
    ("slic", {"reference": False, "margin": 50.0, "nll_coefficient": 0.5}),
    ("robust-dpo", {"label_noise": 0.4}),
    ("grpo", {"beta": 0.0}),
    ("grpo", {"beta": 0.1, "aggregation": "token-mean", "advantage": "batch"}),
    ("dapo", {"advantage": "max-normalised", "beta": 0.01}),
    ("gspo", {"clip_low": 0.2, "clip_high": 0.3}),
    ("sft", {"aggregation": "sequence"}),
    ("grpo", {"beta": 0.1, "unbiased_k3": True}),
    ("gspo", {"beta": 0.1, "unbiased_k3": True}),
    ("rloo", {"ratio": "sequence"}),
    ("reinforce", {"ratio": "token", "beta": 0.1}),
    ("bnpo", {"advantage": "gdpo"}),
    ("gpg", {"beta": 0.1, "ratio": "token"}),
    ("sapo", {"beta": 0.1, "advantage": "reinforce++"}),
    ("clip-cov", {"share": 0.3, "covariance_low": -0.1, "aggregation": "sequence"}),
    ("kl-cov", {"share": 0.3, "beta": 0.1}),
    ("kl-cov", {"share": 0.3, "aggregation": "sequence"}),
    ("dppo", {"region": "kl", "delta_low": 0.01, "delta_high": 0.01}),
    ("grpo", {"advantage": {"name": "group", "correction": 1, "scale": "step"}}),
]


@pytest.mark.parametrize("name", NAMES)
def test_registered_objective(name):
    report = check_objective(fg.get_objective(name))
    assert report.ok, report.text()


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("name", ["f-grpo", "fdo", "f-hal"])
def test_with_every_divergence(name, divergence):
    report = check_objective(fg.get_objective(name, divergence=divergence))
    assert report.ok, report.text()


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(VARIANTS)])
def test_variants(name, options):
    report = check_objective(fg.get_objective(name, **options))
    assert report.ok, report.text()


@pytest.mark.parametrize("name", NAMES)
def test_options_survive_a_run_folder(name):
    options = fg.get_objective(name).options
    assert type(options).model_validate_json(options.model_dump_json()) == options
    assert set(options.model_json_schema()["properties"]) == set(type(options).model_fields)
