"""Claim: the default of every option is the one written here.

The table was taken from the code. It finds a default that changes, not one that differed from its source before.
"""

from __future__ import annotations

from typing import Any

from fdiv_gym.registry.lookup import get, list_entries
from fdiv_gym.registry.reference import PluginRef
from fdiv_gym.theory.claims.claim import Claim
from fdiv_gym.theory.claims.subjects import OURS

KINDS = ("objective", "advantage", "aggregation", "divergence")
PENALTY: dict[str, Any] = {"penalty": None, "penalty_coefficient": 0.0, "penalty_truncation": None}
REFERENCE: dict[str, Any] = {**PENALTY, "unbiased_k3": False}
LINK: dict[str, Any] = {"link": ""}

DEFAULTS: dict[tuple[str, str], dict[str, Any]] = {
    ("objective", "apo-down"): {"beta": 0.1},
    ("objective", "apo-zero"): {"beta": 0.1},
    ("objective", "bco"): {"beta": 0.1, "denominator": "sides", "delta": "step"},
    ("objective", "bnpo"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "beta-normalised",
        "aggregation": "token-mean",
        "clip_low": 0.2,
        "clip_high": 0.2,
    },
    ("objective", "cispo"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "group",
        "aggregation": "token-mean",
        "clip_low": 1.0,
        "clip_high": 4.0,
    },
    ("objective", "clip-cov"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "group",
        "aggregation": "token-mean",
        "share": 0.0002,
        "clip_low": 1.0,
        "clip_high": 1.0,
        "covariance_low": 1.0,
        "covariance_high": 5.0,
    },
    ("objective", "cpo"): {"beta": 0.1, "nll_coefficient": 1.0, "aggregation": "token-mean"},
    ("objective", "dapo"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "group",
        "aggregation": "token-mean",
        "clip_low": 0.2,
        "clip_high": 0.28,
    },
    ("objective", "dpo"): {"beta": 0.1},
    ("objective", "dppo"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "group",
        "aggregation": "token-mean",
        "region": "tv",
        "delta_low": 0.15,
        "delta_high": 0.15,
        "truncation": 20.0,
    },
    ("objective", "dr-grpo"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "mean-centred",
        "aggregation": "constant-length",
        "clip_low": 0.2,
        "clip_high": 0.2,
    },
    ("objective", "f-grpo"): {
        **PENALTY,
        "divergence": "pearson",
        "link": "",
        "beta": 0.1,
        "gamma": 0.0,
        "weighting": "uniform",
        "advantage": "group",
        "importance": "none",
        "importance_cap": 2.0,
    },
    ("objective", "f-hal"): {
        **PENALTY,
        "divergence": "jensen_shannon",
        "link": "",
        "beta": 0.1,
        "gamma": 0.0,
        "weighting": "uniform",
        "advantage": "group",
        "importance": "none",
        "importance_cap": 2.0,
        "lam": 0.5,
        "lam_end": None,
        "off_policy_scale": "paper",
    },
    ("objective", "fdo"): {"divergence": "jensen_shannon", "link": "", "beta": 0.1},
    ("objective", "gmpo"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "group",
        "aggregation": "sequence",
        "clip_low": 0.4,
        "clip_high": 0.4,
    },
    ("objective", "gpg"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "mean-centred",
        "aggregation": "token-mean",
        "ratio": "none",
        "clip_low": 0.2,
        "clip_high": 0.2,
        "rescale": True,
    },
    ("objective", "gprl"): {
        "beta": 0.04,
        "clip_low": 0.2,
        "clip_high": 0.2,
        "advantage": "gprl",
        "aggregation": "sequence",
    },
    ("objective", "grpo"): {
        **REFERENCE,
        "beta": 0.04,
        "advantage": "group",
        "aggregation": "sequence",
        "clip_low": 0.2,
        "clip_high": 0.2,
    },
    ("objective", "gspo"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "group",
        "aggregation": "sequence",
        "clip_low": 0.0003,
        "clip_high": 0.0004,
    },
    ("objective", "ipo"): {"tau": 0.1, "length_normalised": True},
    ("objective", "kl-cov"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "group",
        "aggregation": "token-mean",
        "share": 0.002,
        "coefficient": 1.0,
    },
    ("objective", "kldo"): {"beta": 0.1, "moving_rate": 1.0, "normalise": False},
    ("objective", "kto"): {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0, "z0": "step"},
    ("objective", "nca"): {"beta": 0.1},
    ("objective", "orpo"): {"lam": 0.1, "aggregation": "token-mean"},
    ("objective", "reinforce"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "batch",
        "aggregation": {"name": "constant-length", "length": 1},
        "ratio": "none",
        "clip_low": 0.2,
        "clip_high": 0.2,
    },
    ("objective", "rloo"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "leave-one-out",
        "aggregation": {"name": "constant-length", "length": 1},
        "ratio": "none",
        "clip_low": 0.2,
        "clip_high": 0.2,
    },
    ("objective", "robust-dpo"): {"beta": 0.1, "label_noise": 0.1},
    ("objective", "sapo"): {
        **REFERENCE,
        "beta": 0.0,
        "advantage": "group",
        "aggregation": "sequence",
        "temperature_positive": 1.0,
        "temperature_negative": 1.05,
    },
    ("objective", "sft"): {"aggregation": "token-mean"},
    ("objective", "simpo"): {"beta": 2.0, "gamma": 1.0},
    ("objective", "slic"): {
        "beta": 0.1,
        "margin": 1.0,
        "reference": True,
        "nll_coefficient": 0.0,
        "aggregation": "token-mean",
    },
    ("objective", "sppo"): {"beta": 0.1},
    ("advantage", "batch"): {"eps": 1e-06, "correction": 0},
    ("advantage", "beta-normalised"): {"low": 0.0, "high": 1.0, "ceiling": 1000000.0},
    ("advantage", "gdpo"): {"weights": {}, "eps": 1e-06, "correction": 0},
    ("advantage", "gprl"): {"aggregate": "sum", "eps": 1e-08, "correction": 0},
    ("advantage", "group"): {"eps": 1e-06, "correction": 0, "scale": "prompt"},
    ("advantage", "leave-one-out"): {},
    ("advantage", "max-normalised"): {},
    ("advantage", "mean-centred"): {},
    ("advantage", "reinforce++"): {"baseline": "mean-centred", "eps": 1e-06, "correction": 0},
    ("aggregation", "constant-length"): {"length": 512},
    ("aggregation", "sequence"): {},
    ("aggregation", "token-mean"): {},
    ("divergence", "alpha"): {**LINK, "alpha": 0.5},
    ("divergence", "hellinger"): LINK,
    ("divergence", "jeffreys"): LINK,
    ("divergence", "jensen_shannon"): LINK,
    ("divergence", "kl"): LINK,
    ("divergence", "neyman"): LINK,
    ("divergence", "pearson"): {**LINK, "conjugate": "paper"},
    ("divergence", "reverse_kl"): LINK,
    ("divergence", "skewed_jensen_shannon"): {**LINK, "skew": 0.5},
    ("divergence", "total_variation"): LINK,
    ("divergence", "triangular"): LINK,
}


def defaults_are_those_of_the_table() -> Claim:
    """The default of every option of fdiv-gym's objectives, advantages, aggregations and divergences is in a table."""
    wrong, count = [], 0
    for kind in KINDS:
        for entry in list_entries(kind):
            if entry.status != "ok" or entry.distribution != "fdiv-gym" or entry.name == "from_generator":
                continue
            expected, found = DEFAULTS.get((kind, entry.name)), _defaults(kind, entry.name)
            if expected is None:
                wrong.append(f"{entry.name} is not in the table")
                continue
            count += len(found)
            wrong += [
                f"{entry.name}.{name}: {found.get(name)!r}, table {expected.get(name)!r}"
                for name in sorted(found.keys() | expected.keys())
                if name not in found or name not in expected or found[name] != expected[name]
            ]
    return Claim(
        "defaults that differ from the table", OURS, len(wrong), 0, detail="; ".join(wrong) or f"{count} options"
    )


def _defaults(kind: str, name: str) -> dict[str, Any]:
    """The default of each option; a plugin as it is written in a config."""
    fields = type(get(kind, name)).Options.model_fields
    values = {option: field.get_default(call_default_factory=True) for option, field in fields.items()}
    return {option: value.raw() if isinstance(value, PluginRef) else value for option, value in values.items()}


CLAIMS = (defaults_are_those_of_the_table,)
