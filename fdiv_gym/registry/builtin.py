"""The plugins of the core, ``fdiv-gym:core``, registered by the same entry point as external plugins."""

from __future__ import annotations

from typing import Any

from fdiv_gym.registry.hooks import Registrar, hookimpl

TORCH: dict[str, Any] = {"requires": ("torch",), "extra": "train"}

DIVERGENCES = {
    "kl": ("KL", "Kullback-Leibler, f = t log t"),
    "reverse_kl": ("ReverseKL", "reverse Kullback-Leibler, f = -log t"),
    "pearson": ("Pearson", "Pearson chi-square, f = (t - 1)^2"),
    "hellinger": ("Hellinger", "squared Hellinger, f = (sqrt t - 1)^2"),
    "jensen_shannon": ("JensenShannon", "Jensen-Shannon, bounded"),
    "total_variation": ("TotalVariation", "total variation, f = |t - 1|/2"),
}


OBJECTIVES = {
    "f-grpo": ("f_grpo:FGRPO", "on-policy f-divergence alignment"),
    "fdo": ("fdo:FDO", "preference data, any f-divergence"),
    "kldo": ("kldo:KLDO", "preference data, Donsker-Varadhan form of KL"),
    "f-hal": ("f_hal:FHAL", "preference data and rollouts in one step"),
}

ADVANTAGES = {
    "group": ("group:GroupStandardised", "(r - mean)/std per prompt (GRPO)"),
    "mean-centred": ("centred:MeanCentred", "r - mean per prompt (Dr. GRPO)"),
    "leave-one-out": ("centred:LeaveOneOut", "r - mean of the prompt's other responses (RLOO)"),
    "max-normalised": ("centred:MaxNormalised", "(r - mean)/max|r - mean| per prompt"),
    "batch": ("step:BatchStandardised", "(r - mean)/std over the whole step (REINFORCE)"),
    "reinforce++": ("step:ReinforcePlusPlus", "r - mean per prompt, standardised over the step (REINFORCE++)"),
    "gdpo": ("gdpo:GDPO", "each component standardised per prompt, their sum over the step (GDPO)"),
    "beta-normalised": ("beta:BetaNormalised", "(r - mean)/density of the mean among prompts (BNPO)"),
}

AGGREGATIONS = {
    "sequence": ("SequenceMean", "mean over responses of token means (GRPO)"),
    "token-mean": ("TokenMean", "mean over all tokens (DAPO)"),
    "constant-length": ("ConstantLength", "token sum over a constant (Dr. GRPO)"),
}


@hookimpl
def fdiv_gym_register(registrar: Registrar) -> None:
    """Register the six divergences and the objectives of the paper, advantages and aggregations."""
    for name, (class_name, summary) in DIVERGENCES.items():
        registrar.add("divergence", name, f"fdiv_gym.divergences.paper:{class_name}", summary=summary, **TORCH)
    registrar.add(
        "divergence",
        "from_generator",
        "fdiv_gym.divergences.generated:FromGenerator",
        summary="any generator given as text, option generator",
        options={"generator": "t*log(t)"},
        **TORCH,
    )
    for name, (place, summary) in OBJECTIVES.items():
        registrar.add("objective", name, f"fdiv_gym.objectives.{place}", summary=summary, **TORCH)
    for name, (place, summary) in ADVANTAGES.items():
        registrar.add("advantage", name, f"fdiv_gym.objectives.advantages.{place}", summary=summary, **TORCH)
    for name, (class_name, summary) in AGGREGATIONS.items():
        target = f"fdiv_gym.objectives.aggregation:{class_name}"
        registrar.add("aggregation", name, target, summary=summary, **TORCH)
