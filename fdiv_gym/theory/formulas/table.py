"""The table of formulas: one row for each objective of fdiv-gym."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fdiv_gym.theory.formulas import alignment, on_policy, on_policy_later, pairs, preferences
from fdiv_gym.theory.formulas.branches import LINKS, SIX


@dataclass(frozen=True)
class Formula:
    """The formula of one objective.

    Args:
        value: the loss of a step from the data, the data at which held quantities are evaluated, and options.
        source: the source of the formula, an arXiv number where it has one.
        cases: options with which objective and formula are compared.
    """

    value: Callable[..., float]
    source: str
    cases: Sequence[Mapping[str, Any]] = ({},)


ON_POLICY: list[dict[str, Any]] = [
    {},
    {"beta": 0.3},
    {"advantage": {"name": "group", "eps": 0.2}, "aggregation": "token-mean"},
    {"advantage": {"name": "batch", "eps": 0.2}, "aggregation": {"name": "constant-length", "length": 7}},
    {"advantage": "leave-one-out", "aggregation": "sequence", "beta": 0.1},
    {"advantage": "mean-centred"},
    {"advantage": "max-normalised"},
    {"beta": 0.3, "unbiased_k3": True, "advantage": {"name": "group", "scale": "step", "correction": 1}},
    {"advantage": {"name": "reinforce++", "eps": 0.1}},
]
#: The penalty in place of k3: six divergences, and the truncation.
PENALTY: list[dict[str, Any]] = [
    *({"beta": 0.0, "penalty": name, "penalty_coefficient": 0.3} for name in SIX),
    {"beta": 0.0, "penalty": "kl", "penalty_coefficient": 0.7, "penalty_truncation": 0.5},
]
RATIO: list[dict[str, Any]] = [
    {"ratio": "token", "clip_low": 0.1, "clip_high": 0.4},
    {"ratio": "sequence", "clip_low": 0.3, "clip_high": 0.15},
    {"ratio": "sequence", "clip_low": 0.3, "clip_high": 0.5, "beta": 0.1, "unbiased_k3": True},
]
CLIPPED = [*ON_POLICY, {"clip_low": 0.1, "clip_high": 0.4}, {"clip_low": 0.4, "clip_high": 0.1, "beta": 0.1}]
GPRL: list[dict[str, Any]] = [
    {},
    {"beta": 0.3, "clip_low": 0.1, "clip_high": 0.4},
    {"beta": 0.0, "advantage": {"name": "gprl", "eps": 0.2, "correction": 1}, "aggregation": "token-mean"},
    {"advantage": "leave-one-out"},
]
F_GRPO: list[dict[str, Any]] = [
    {},
    *({"divergence": name, "beta": 0.3} for name in SIX),
    *({"divergence": name, "link": link, "beta": 0.3, "gamma": 0.4} for name, link in LINKS),
    *({"divergence": "hellinger", "weighting": w, "gamma": 0.2} for w in ("softmax", "length_normalised")),
    {"advantage": "leave-one-out", "weighting": "softmax"},
    {"advantage": {"name": "group", "eps": 0.2}, "gamma": 1.0},
    {"importance": "sequence", "beta": 0.3, "divergence": "hellinger"},
    {"importance": "token", "gamma": 0.4, "beta": 0.3, "importance_cap": 1.3},
    *({"penalty": name, "penalty_coefficient": 0.3, "gamma": 0.2} for name in SIX),
    {"penalty": "kl", "penalty_coefficient": 0.7, "penalty_truncation": 0.5, "importance": "sequence"},
]
FDO: list[dict[str, Any]] = [
    {},
    *({"divergence": name, "beta": 0.3} for name in SIX),
    *({"divergence": name, "link": link, "beta": 0.5} for name, link in LINKS),
]
KLDO: list[dict[str, Any]] = [
    {},
    {"beta": 0.7},
    {"beta": 0.7, "normalise": True},
    {"beta": 0.7, "moving_rate": 0.3},
]
F_HAL: list[dict[str, Any]] = [
    {},
    *({"lam": lam, "divergence": name} for name, lam in zip(SIX, (0.1, 0.3, 0.5, 0.7, 0.9, 0.2), strict=True)),
    {"lam": 0.3, "off_policy_scale": "matched", "beta": 0.4, "gamma": 0.5, "weighting": "softmax"},
    {"lam": 0.4, "advantage": "mean-centred", "importance": "token", "importance_cap": 1.5},
    {"lam": 0.4, "advantage": {"name": "group", "eps": 0.2}, "importance": "sequence"},
    {"lam": 0.3, "penalty": "pearson", "penalty_coefficient": 0.4},
]

FORMULAS: dict[str, Formula] = {
    "f-grpo": Formula(alignment.f_grpo, "arXiv 2602.05946", F_GRPO),
    "fdo": Formula(alignment.fdo, "arXiv 2502.00657", FDO),
    "kldo": Formula(alignment.kldo, "arXiv 2502.00657", KLDO),
    "f-hal": Formula(alignment.f_hal, "arXiv 2602.05946", F_HAL),
    "grpo": Formula(on_policy.grpo, "arXiv 2402.03300", [*CLIPPED, *PENALTY]),
    "gprl": Formula(on_policy.gprl, "arXiv 2605.18721", GPRL),
    "dr-grpo": Formula(on_policy.dr_grpo, "arXiv 2503.20783", CLIPPED),
    "dapo": Formula(on_policy.dapo, "arXiv 2503.14476", CLIPPED),
    "gspo": Formula(on_policy.gspo, "arXiv 2507.18071", CLIPPED),
    "cispo": Formula(on_policy.cispo, "arXiv 2506.13585", CLIPPED),
    "rloo": Formula(on_policy.rloo, "arXiv 2402.14740", [*ON_POLICY, *RATIO]),
    "reinforce": Formula(on_policy.reinforce, "Williams 1992", [*ON_POLICY, *RATIO, PENALTY[2]]),
    "dpo": Formula(preferences.dpo, "arXiv 2305.18290", [{}, {"beta": 0.7}]),
    "ipo": Formula(preferences.ipo, "arXiv 2310.12036", [{}, {"tau": 0.7}, {"length_normalised": False}]),
    "simpo": Formula(preferences.simpo, "arXiv 2405.14734", [{}, {"beta": 0.7, "gamma": 0.3}]),
    "kto": Formula(
        preferences.kto,
        "arXiv 2402.01306",
        [{}, {"z0": "none"}, {"beta": 0.7, "desirable_weight": 2.0, "undesirable_weight": 0.6}],
    ),
    "bco": Formula(
        preferences.bco,
        "arXiv 2404.04656",
        [{}, {"beta": 0.7}, {"denominator": "rows"}, {"beta": 0.7, "delta": "none"}],
    ),
    "sft": Formula(
        preferences.sft, "arXiv 2203.02155", [{}, {"aggregation": "sequence"}, {"aggregation": on_policy.SUM}]
    ),
    "apo-zero": Formula(pairs.apo_zero, "arXiv 2408.06266", [{}, {"beta": 0.7}]),
    "apo-down": Formula(pairs.apo_down, "arXiv 2408.06266", [{}, {"beta": 0.7}]),
    "cpo": Formula(pairs.cpo, "arXiv 2401.08417", [{}, {"beta": 0.7, "nll_coefficient": 0.3}]),
    "orpo": Formula(pairs.orpo, "arXiv 2403.07691", [{}, {"lam": 0.8, "aggregation": "sequence"}]),
    "slic": Formula(
        pairs.slic,
        "arXiv 2309.06657",
        [{}, {"beta": 0.7, "margin": 0.6}, {"reference": False, "nll_coefficient": 0.4}],
    ),
    "robust-dpo": Formula(pairs.robust_dpo, "arXiv 2403.00409", [{}, {"beta": 0.7, "label_noise": 0.3}]),
    "nca": Formula(pairs.nca, "arXiv 2402.05369", [{}, {"beta": 0.7}]),
    "sppo": Formula(pairs.sppo, "arXiv 2405.00675", [{}, {"beta": 0.7}]),
    "sapo": Formula(
        on_policy_later.sapo,
        "arXiv 2511.20347",
        [*ON_POLICY, {"temperature_positive": 3.0, "temperature_negative": 0.5}],
    ),
    "bnpo": Formula(
        on_policy_later.bnpo,
        "arXiv 2506.02864",
        [
            {"advantage": {"name": "beta-normalised", "low": -1.0, "high": 2.5}},
            {
                "advantage": {"name": "beta-normalised", "low": -0.5, "high": 3.0},
                "aggregation": "sequence",
                "beta": 0.2,
            },
            {"advantage": "group", "clip_low": 0.1, "clip_high": 0.4},
        ],
    ),
    "clip-cov": Formula(
        on_policy_later.clip_cov,
        "arXiv 2505.22617",
        [
            *ON_POLICY,
            {"share": 0.2, "covariance_low": 0.05},
            {"share": 0.5, "covariance_low": -2.0, "covariance_high": 0.3, "clip_low": 0.1, "clip_high": 0.1},
        ],
    ),
    "kl-cov": Formula(
        on_policy_later.kl_cov, "arXiv 2505.22617", [*ON_POLICY, {"share": 0.3, "coefficient": 0.7}, {"share": 1.0}]
    ),
    "gmpo": Formula(on_policy_later.gmpo, "arXiv 2507.20673", CLIPPED),
    "gpg": Formula(on_policy_later.gpg, "arXiv 2504.02546", [*ON_POLICY, *RATIO, {"rescale": False}]),
    "dppo": Formula(
        on_policy_later.dppo,
        "arXiv 2602.04879",
        [
            *ON_POLICY,
            {"delta_low": 0.02, "delta_high": 0.05, "truncation": 1.2},
            {"region": "kl", "delta_low": 0.005, "delta_high": 0.01},
            {"region": "kl", "delta_low": 0.05, "delta_high": 0.05},
        ],
    ),
}
