"""The registrations of this plugin."""

from __future__ import annotations

import fdiv_gym as fg

ENVIRONMENTS = {
    "safety/Refusal-v0": ("refusal:Refusal", "refuse harmful requests, help with their harmless twins"),
    "safety/Preference-v0": ("preference:Preference", "any prompts with any judge"),
    "safety/Constrained-v0": ("constrained:Constrained", "a reward with a cost and a budget"),
    "safety/Escalation-v0": ("escalation:Escalation", "requests that turn harmful in the course of a conversation"),
    "safety/Flattery-v0": ("flattery:Flattery", "a judge with a planted flaw and a hidden true score"),
    "safety/Zeal-v0": ("zeal:Zeal", "three qualities, one of them easy to exaggerate, and a hidden true score"),
}


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the safety environments."""
    for name, (place, summary) in ENVIRONMENTS.items():
        registrar.add("environment", name, f"fdiv_gym_safety.{place}", summary=summary)
