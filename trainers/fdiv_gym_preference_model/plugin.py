"""The registrations of this plugin."""

from __future__ import annotations

import fdiv_gym as fg

NEEDS = ("torch", "transformers", "safetensors")


@fg.hookimpl
def fdiv_gym_register(registrar: fg.Registrar) -> None:
    """Register the trainer."""
    registrar.add(
        "trainer", "preference-model", "fdiv_gym_preference_model.trainer:PreferenceModelTrainer",
        summary="a general preference model from pairs of responses", requires=NEEDS, extra="train",
    )  # fmt: skip
