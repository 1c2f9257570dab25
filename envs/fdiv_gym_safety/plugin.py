"""What this plugin registers."""

from __future__ import annotations

import fdiv_gym as fg

JUDGES = {
    "rule": ("rule:Rule", "patterns of refusal, compliance and style; no model", (), ""),
    "classifier": ("classifier:Classifier", "a transformers sequence classifier", ("torch", "transformers"), "train"),
    "llm": ("llm:LLM", "a language model behind an OpenAI-compatible server", ("openai",), "judges"),
    "pairwise": ("pairwise:Pairwise", "win rate within the group", (), ""),
    "ensemble": ("ensemble:Ensemble", "several judges: mean, min or weighted", (), ""),
}

ENVIRONMENTS = {
    "safety/Refusal-v0": ("refusal:Refusal", "refuse harmful requests, help with their harmless twins"),
    "safety/Preference-v0": ("preference:Preference", "any prompts with any judge"),
    "safety/Constrained-v0": ("constrained:Constrained", "a reward with a cost and a budget"),
    "safety/Flattery-v0": ("flattery:Flattery", "a judge with a planted flaw and a hidden true score"),
}


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the judges and the safety environments."""
    for name, (place, summary, requires, extra) in JUDGES.items():
        target = f"fdiv_gym_safety.judges.{place}"
        registrar.add("judge", name, target, summary=summary, requires=requires, extra=extra)
    for name, (place, summary) in ENVIRONMENTS.items():
        registrar.add("environment", name, f"fdiv_gym_safety.{place}", summary=summary)
