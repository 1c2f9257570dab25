"""What the core itself registers, as ``fdiv-gym:core``, through the same door as everybody else."""

from __future__ import annotations

from fdiv_gym.hooks import Registrar, hookimpl

TORCH = {"requires": ("torch",), "extra": "train"}

DIVERGENCES = {
    "kl": ("KL", "Kullback-Leibler, f = t log t"),
    "reverse_kl": ("ReverseKL", "reverse Kullback-Leibler, f = -log t"),
    "pearson": ("Pearson", "Pearson chi-square, f = (t - 1)^2"),
    "hellinger": ("Hellinger", "squared Hellinger, f = (sqrt t - 1)^2"),
    "jensen_shannon": ("JensenShannon", "Jensen-Shannon, bounded"),
    "total_variation": ("TotalVariation", "total variation, f = |t - 1|/2"),
}


@hookimpl
def fdiv_gym_register(registrar: Registrar) -> None:
    """Register the six divergences and the objectives of the paper."""
    for name, (class_name, summary) in DIVERGENCES.items():
        registrar.add("divergence", name, f"fdiv_gym.divergences.paper:{class_name}", summary=summary, **TORCH)
    registrar.add(
        "objective", "f-grpo", "fdiv_gym.objectives.f_grpo:FGRPO", summary="on-policy f-divergence alignment", **TORCH
    )
    registrar.add(
        "advantage",
        "group",
        "fdiv_gym.advantages.group:GroupStandardised",
        summary="(r - mean)/std per prompt",
        **TORCH,
    )
    for name, class_name, summary in (
        ("sequence", "SequenceMean", "mean over responses of token means (GRPO)"),
        ("token-mean", "TokenMean", "mean over all tokens (DAPO)"),
        ("constant-length", "ConstantLength", "token sum over a constant (Dr. GRPO)"),
    ):
        target = f"fdiv_gym.advantages.aggregation:{class_name}"
        registrar.add("aggregation", name, target, summary=summary, **TORCH)
