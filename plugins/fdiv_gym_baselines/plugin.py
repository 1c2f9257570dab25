"""The registrations of this plugin; the modules are imported at first use."""

from __future__ import annotations

import fdiv_gym as fg

OBJECTIVES = {
    "grpo": ("grpo:GRPO", "clipped ratio, k3 to the reference (DeepSeekMath)"),
    "dr-grpo": ("dr_grpo:DrGRPO", "GRPO without its two biases"),
    "dapo": ("dapo:DAPO", "clip-higher, token mean"),
    "gspo": ("gspo:GSPO", "one clipped ratio for a whole response"),
    "cispo": ("cispo:CISPO", "clipped importance weights, every token keeps its gradient"),
    "bnpo": ("bnpo:BNPO", "clipped ratio, beta-normalised rewards, token mean"),
    "sapo": ("sapo:SAPO", "a sigmoid gate in place of the clip"),
    "gmpo": ("gmpo:GMPO", "geometric mean of a response's clipped ratios"),
    "gpg": ("gpg:GPG", "policy gradient, rescaled for prompts without one"),
    "clip-cov": ("clip_cov:ClipCov", "tokens of high covariance lose their gradient"),
    "kl-cov": ("kl_cov:KLCov", "tokens of high covariance are held at the sampling policy"),
    "dppo": ("dppo:DPPO", "a divergence in place of the ratio's clip"),
    "rloo": ("rloo:RLOO", "REINFORCE with a leave-one-out baseline"),
    "reinforce": ("reinforce:Reinforce", "REINFORCE with a batch baseline"),
    "dpo": ("dpo:DPO", "direct preference optimisation"),
    "ipo": ("ipo:IPO", "squared loss on the preference margin"),
    "simpo": ("simpo:SimPO", "length-normalised margin, no reference"),
    "kto": ("kto:KTO", "labelled single responses, prospect theory"),
    "bco": ("bco:BCO", "labelled single responses, binary classifier"),
    "cpo": ("cpo:CPO", "dpo without reference, plus likelihood of the chosen response"),
    "orpo": ("orpo:ORPO", "likelihood of the chosen response and the odds ratio, no reference"),
    "slic": ("slic:SLiC", "hinge on the preference margin"),
    "apo-zero": ("apo:APOZero", "anchored: raises the chosen, lowers the rejected response"),
    "apo-down": ("apo:APODown", "anchored: lowers both responses, the rejected one more"),
    "robust-dpo": ("robust_dpo:RobustDPO", "dpo under a known share of wrong labels"),
    "nca": ("nca:NCA", "noise contrastive, absolute rewards of pairs"),
    "sppo": ("sppo:SPPO", "squared loss of each response's log-ratio, hard labels"),
    "sft": ("sft:SFT", "likelihood of the chosen responses"),
}


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the baselines."""
    for name, (place, summary) in OBJECTIVES.items():
        target = f"fdiv_gym_baselines.{place}"
        registrar.add("objective", name, target, summary=summary, requires=("torch",), extra="train")
