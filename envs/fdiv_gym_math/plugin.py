"""The registrations of this plugin."""

from __future__ import annotations

import fdiv_gym as fg

PROCEDURAL = {
    "Addition": ("addition:Addition", "add numbers digit by digit; procedural, exact"),
    "Arithmetic": ("procedural.arithmetic:Arithmetic", "sums, products and quotients; five levels"),
    "LinearEquation": ("procedural.equations:LinearEquation", "solve one equation for x; five levels"),
    "Fractions": ("procedural.fractions:Fractions", "compute with fractions; five levels"),
    "Countdown": ("procedural.countdown:Countdown", "reach a target with given numbers; five levels"),
    "Modular": ("procedural.modular:Modular", "remainders, powers and inverses; five levels"),
    "Polynomial": ("procedural.polynomials:Polynomial", "expand products of polynomials; five levels"),
    "Hints": ("hints:Hints", "arithmetic in several turns, with hints"),
}

CORPORA = {
    "Dataset": ("dataset_env:DatasetEnv", "any problem and answer columns of a file, folder or hub set"),
    "GSM8K": ("presets:GSM8K", "grade-school word problems"),
    "MATH": ("presets:MATH", "competition problems"),
    "MATH500": ("presets:MATH500", "500 competition problems, for evaluation"),
    "AMC23": ("presets:AMC23", "AMC 2023, for evaluation"),
    "AIME24": ("presets:AIME24", "AIME 2024, for evaluation"),
    "AIME25": ("presets:AIME25", "AIME 2025, for evaluation"),
    "LIMR": ("presets:LIMR", "problems chosen for reinforcement learning"),
    "OpenRS": ("presets:OpenRS", "problems for small reasoning models"),
}


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the math environments."""
    for name, (place, summary) in PROCEDURAL.items():
        registrar.add("environment", f"math/{name}-v0", f"fdiv_gym_math.{place}", summary=summary)
    for name, (place, summary) in CORPORA.items():
        registrar.add(
            "environment", f"math/{name}-v0", f"fdiv_gym_math.corpora.{place}",
            summary=summary, requires=("math_verify", "pebble", "datasets"), extra="math",
        )  # fmt: skip
